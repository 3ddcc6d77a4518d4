"""The argument and the result of each of the six steps."""

from __future__ import annotations

import operator
from typing import Annotated, Literal

from pydantic import Field

from dialogue.base import Value
from dialogue.messages import ChatMessage, TextFile, TurnKey
from dialogue.plan import Poor, TurnPlan
from dialogue.receipt import Receipt

__all__ = [
    "Action",
    "Attempt",
    "Candidate",
    "CandidateFinish",
    "Citation",
    "ContextCut",
    "Finding",
    "GenerateAnswer",
    "GeneratedAnswer",
    "NamedFile",
    "Passage",
    "QuotePassages",
    "RecallConversation",
    "ReceiveInput",
    "ReceivedFile",
    "ReceivedInput",
    "RecogniseIntent",
    "RecognisedIntent",
    "RetrieveKnowledge",
    "RetrievedKnowledge",
    "ReturnAnswer",
    "ReturnedAnswer",
    "ReviewAnswer",
    "ReviewedAnswer",
    "Route",
    "StepDone",
    "StepResult",
    "Usage",
    "Verdict",
]

Action = Literal["pass", "mask", "regenerate", "template", "human", "refuse", "block"]
"""What a policy does about a finding, from the mildest to the sternest."""

Verdict = Literal["pass", "mask", "regenerate", "template", "human", "block", "refused", "cancelled", "failed"]
"""How a turn's answer was judged; the last three are turns that never came to a review."""

CandidateFinish = Literal[
    "stop", "length", "repetition", "wrong_language", "cancelled", "out_of_memory", "timed_out", "none"
]
"""Why a sample ended: the engine's reasons, ``wrong_language`` where the answer drifted into another language and was
stopped, ``timed_out`` where the step's time was over, ``none`` where it never came to an end."""

Route = Literal["retrieve", "generate", "template", "human", "refuse"]


class Finding(Value):
    """One thing a check found. ``start`` and ``end`` are character offsets into the *original* text checked.

    ``label`` names what was found without showing it (``bank_card``, ``word level 2``); the words themselves
    are never copied here, so findings may be logged.
    """

    rule: str
    label: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    action: Action
    level: int = 0
    note: str = ""


class Usage(Value):
    """Token counts of a turn, in OpenAI's words."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class NamedFile(Value):
    """A file that came with a message, for the records: ``digest`` is the SHA-256 of its text as it came, in hex."""

    name: str
    digest: str


class ReceivedFile(NamedFile):
    """What the rest of the turn sees of it: name and text normalised, defused, masked where the policy says so."""

    text: str


ReceivedFiles = Annotated[tuple[ReceivedFile, ...], Field(exclude_if=operator.not_)]
"""Left out where there are none, as in histories before there were any."""


class StepDone(Value):
    """How the successful attempt of a step went: which it was, where it ran, how long its own work took."""

    attempt: int = 1
    worker: str = ""
    pool: str = ""
    milliseconds: float = 0.0


class StepResult(Value):
    """The base of every step's result. ``done`` is filled in by the worker, never by the step."""

    done: StepDone = StepDone()


# 1 input ------------------------------------------------------------------------------------------


class ReceiveInput(Value):
    """The message as it came, and where it belongs."""

    turn: TurnKey
    message_id: str | None = None
    text: str
    files: tuple[TextFile, ...] = Field(default=(), exclude_if=operator.not_)
    user: str
    temperature: float | None = None
    seed: int | None = None
    max_new_tokens: int | None = None
    model: str | None = None
    caller: str | None = Field(default=None, repr=False, description="the token that vouches for tenant and user")
    said_at: float | None = Field(default=None, description="when the message came, before it waited for its turn")


class ReceivedInput(StepResult):
    """``text`` is what the rest of the turn sees: normalised, defused, masked where the policy says so."""

    text: str
    language: str
    files: ReceivedFiles = ()
    tokens: int = Field(ge=0, description="of the text and its files")
    findings: tuple[Finding, ...] = Field(
        default=(), description="in the text, then in each file, which the note names"
    )
    decision: Literal["pass", "mask", "refuse"]
    refusal: str | None = Field(default=None, description="what the person is told when refused")
    plan: TurnPlan


# 2 intent -----------------------------------------------------------------------------------------


class RecogniseIntent(Value):
    turn: TurnKey
    text: str
    language: str


class RecognisedIntent(StepResult):
    """``intent`` is ``None`` when out of scope; ``confidence`` is calibrated: 0.9 is right nine times in ten."""

    intent: str | None
    confidence: float = Field(ge=0, le=1)
    route: Route
    reply: str | None = Field(default=None, description="the text of a template or an out-of-scope answer")
    alternatives: tuple[tuple[str, float], ...] = ()
    model: str = Field(
        description="digest of the intents and of how the classifier was made, as the contents keep them"
    )


# 3 knowledge --------------------------------------------------------------------------------------


class RetrieveKnowledge(Value):
    turn: TurnKey
    text: str
    language: str
    intent: str | None = None
    limit: int | None = None


class Passage(Value):
    """A stretch of a document: ``text == document_text[start:end]``; ``score`` is the fused one, 0 to 1."""

    id: str
    document: str
    title: str
    section: str
    language: str
    text: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    score: float
    dense_score: float | None = None
    lexical_score: float | None = None


class RetrievedKnowledge(StepResult):
    """Passages best first; none when nothing reached the threshold. ``best`` is the best score found."""

    snapshot: str
    passages: tuple[Passage, ...]
    best: float
    searched: tuple[str, ...] = Field(default=(), description="the methods asked: dense, lexical")


# 4 generation -------------------------------------------------------------------------------------


class GenerateAnswer(Value):
    """One try. What a rung changed is already in these fields. ``history`` is oldest first."""

    turn: TurnKey
    try_number: int = Field(ge=1)
    why: str | None = Field(default=None, description="what was wrong with the try before")
    question: str
    files: ReceivedFiles = ()
    language: str
    passages: tuple[Passage, ...] = ()
    retrieved: bool = Field(default=True, description="whether the knowledge base was asked at all")
    history: tuple[ChatMessage, ...] = ()
    temperature: float
    top_p: float
    max_new_tokens: int
    max_passages: int | None = Field(default=None, description="a rung's bound on the passages shown")
    thinking_budget: int | None = None
    candidates: int = 1
    seed: int
    model: str
    model_digest: str
    reasoning: Literal["none", "r1"] = "none"


class Attempt(Value):
    """One worker's attempt at a try. Times are seconds since the epoch; ``failure`` is empty when it ended well."""

    number: int = Field(ge=1)
    worker: str
    started: float
    ended: float | None = None
    tokens: int = Field(default=0, ge=0, description="tokens made by this attempt")
    resumed_at: int = Field(default=0, ge=0, description="tokens taken over from the attempts before")
    failure: str = ""


class ContextCut(Value):
    """What was left out so that the prompt fits, in the order of cutting: oldest turns, then lowest passages, then
    the ends of files, the last file's first."""

    history_messages: int = 0
    passages: tuple[str, ...] = Field(default=(), description="ids of the passages left out")
    files: tuple[str, ...] = Field(
        default=(), exclude_if=operator.not_, description="names of the files that were shortened or left out"
    )
    tokens: int = Field(default=0, description="tokens saved")


class Candidate(Value):
    """One sample. ``reasoning`` and ``answer`` are apart; ``support`` is the share of its sentences that hold.

    ``reasoning_truncated``: the thinking budget was spent and the closing tag put in. ``reasoning_bypassed``: the
    thinking was closed without a word, though its beginning was written for the model.
    """

    answer: str
    reasoning: str = ""
    finish_reason: CandidateFinish
    tokens: int = 0
    reasoning_tokens: int = 0
    reasoning_truncated: bool = False
    reasoning_bypassed: bool = False
    seed: int = 0
    support: float | None = None


class GeneratedAnswer(StepResult):
    """What came of one try. ``poor`` names what was wrong with it, ``None`` when it may go to the review.

    ``record`` is the digest under which prompt ids, output ids, sampling, engine and resume points are stored.
    """

    answer: str
    reasoning: str = ""
    reasoning_truncated: bool = False
    reasoning_bypassed: bool = False
    finish_reason: str
    poor: Poor | None = None
    usage: Usage
    model: str
    model_digest: str
    engine_digest: str = ""
    prompt_digest: str = ""
    record: str = ""
    seed: int = 0
    temperature: float | None = None
    top_p: float | None = None
    resumed_at: int = 0
    attempts: tuple[Attempt, ...] = ()
    cut: ContextCut = ContextCut()
    shown: tuple[str, ...] = Field(default=(), description="ids of the passages the prompt held, as [1], [2] …")
    candidates: tuple[Candidate, ...] = ()
    kept: int = Field(default=0, description="which candidate the answer is")
    first_token_seconds: float | None = None
    seconds: float = 0.0
    quoted: bool = Field(default=False, description="the answer quotes passages and no model wrote it")


# 5 review -----------------------------------------------------------------------------------------


class ReviewAnswer(Value):
    turn: TurnKey
    question: str
    files: ReceivedFiles = ()
    language: str
    answer: str
    reasoning: str = ""
    finish_reason: str
    passages: tuple[Passage, ...] = Field(default=(), description="those the prompt held, as [1], [2] …")
    retrieved: bool = True
    quoted: bool = False
    policy: str
    policy_digest: str
    candidates: tuple[Candidate, ...] = ()


class Citation(Value):
    """``[number]`` in the answer; ``start`` and ``end`` are the supporting span within the document."""

    number: int = Field(ge=1)
    document: str
    title: str
    section: str
    start: int
    end: int
    quote: str
    support: float = Field(description="how much of the sentence the span covers, 0 to 1")


class ReviewedAnswer(StepResult):
    """``answer`` is what may be shown: citations in the reader's form, masked where the policy says so."""

    verdict: Literal["pass", "mask", "regenerate", "template", "human", "block"]
    answer: str
    reasoning: str | None = Field(
        default=None, description="of the kept candidate, masked like the answer; None: it was not reviewed"
    )
    findings: tuple[Finding, ...] = ()
    citations: tuple[Citation, ...] = ()
    kept: int = Field(default=0, description="which of the candidates was kept")
    reason: str = Field(default="", description="one line: why this verdict")


# 6 return -----------------------------------------------------------------------------------------


class ReturnAnswer(Value):
    """What is kept of a turn, whatever became of it. Empty digests where the turn never came so far.

    ``told`` is the reasoning that a reader may see; ``reasoning`` is what the audit keeps.
    """

    turn: TurnKey
    user: str
    address: str | None = None
    message_id: str
    question: str = Field(description="as the policy let it through: masked where it says so")
    masked: bool = Field(
        default=True, description="False: the turn ended before the first step had masked the question"
    )
    question_digest: str = Field(description="of text and files as they came, so that a repeated id is known as one")
    files: tuple[NamedFile, ...] = Field(default=(), exclude_if=operator.not_)
    answer: str | None = Field(description="None: the tenant's text for this verdict is used")
    template: str | None = Field(
        default=None,
        exclude_if=lambda given: given is None,
        description="what the answer is put into, as planned; None, as in older histories: as the settings say now",
    )
    reasoning: str = ""
    told: str = ""
    language: str
    verdict: Verdict
    intent: str | None = None
    confidence: float | None = None
    model: str | None = None
    model_digest: str | None = None
    finish_reason: str | None = Field(default=None, description="of the draft that is the answer")
    snapshot: str | None = None
    policy_digest: str | None = None
    record: str | None = None
    citations: tuple[Citation, ...] = ()
    usage: Usage = Usage()
    received_at: float = Field(description="seconds since the epoch, the workflow's clock")
    note: str = Field(default="", description="one line: why refused, failed or handed over")


class ReturnedAnswer(StepResult):
    """``reply`` is the text sent, through the tenant's output template."""

    reply: str
    audit_id: int
    audit_hash: str
    returned_at: float
    receipt: Receipt | None = None


# beside the six ------------------------------------------------------------------------------------


class QuotePassages(Value):
    """A rung of the ladder: the answer is quoted from the passages, because no model could give a good one."""

    turn: TurnKey
    question: str
    language: str
    passages: tuple[Passage, ...]
    why: Poor
    try_number: int = Field(ge=1)


class RecallConversation(Value):
    """Asks the audit what an earlier run of this conversation held."""

    conversation: str
    tenant: str
    turn: int | None = Field(default=None, description="this turn alone; None: the last ones")
