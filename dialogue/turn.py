"""What is remembered of a turn: the record behind tables, transcripts, replies and continue-as-new."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from dialogue.base import Value
from dialogue.plan import StepName
from dialogue.receipt import Receipt
from dialogue.steps import Citation, Finding, Usage, Verdict

__all__ = [
    "FINAL_FIELDS",
    "MAX_CARRIED_BYTES",
    "Carried",
    "CarriedId",
    "ConversationEnd",
    "DeliverWebhook",
    "Recalled",
    "Reply",
    "StepRecord",
    "Transcript",
    "TurnState",
    "TurnSummary",
    "newest_within",
]

MAX_CARRIED_BYTES = 256_000
"""Of the texts of all turns that a conversation remembers. Temporal takes 2 MB at once, and transcripts hold more."""

TurnState = Literal["queued", "running", "waiting", "done"]
"""``waiting``: for a person."""


class StepRecord(Value):
    """One line of the table of steps. A step that was not scheduled is ``skipped`` and says why."""

    step: StepName
    pool: str | None
    try_number: int = 1
    attempt: int = 1
    milliseconds: float = 0.0
    result: str
    skipped: bool = False


class Reply(Value):
    """What ``say`` and a dialogue give back. ``state`` is ``waiting`` while a person has to decide."""

    conversation: str
    turn: int
    message_id: str
    text_digest: str = Field(default="", description="of the message's text as it came")
    tenant: str
    state: TurnState
    answer: str
    reasoning: str = ""
    language: str
    verdict: Verdict
    intent: str | None = None
    confidence: float | None = None
    citations: tuple[Citation, ...] = ()
    findings: tuple[Finding, ...] = ()
    model: str | None = None
    model_digest: str | None = None
    finish_reason: str | None = Field(default=None, description="why the model ended; None: the answer is not its own")
    snapshot: str | None = None
    usage: Usage = Usage()
    steps: tuple[StepRecord, ...] = ()
    note: str = ""
    workflow_id: str
    run_id: str
    received_at: float
    answered_at: float | None = None
    receipt: Receipt | None = Field(default=None, description="of a reply that is done; histories before it have none")


FINAL_FIELDS = frozenset(
    {
        *("conversation", "turn", "message_id", "state", "answer", "reasoning", "language", "verdict"),
        *("intent", "confidence", "citations", "model", "model_digest", "finish_reason", "snapshot", "usage"),
        *("workflow_id", "run_id", "receipt"),
    }
)
"""Of a reply: what the last event of its stream tells."""


class DeliverWebhook(Value):
    """A reply on its way to the address that its caller gave."""

    url: str
    reply: Reply


class TurnSummary(Value):
    """What a conversation carries of a turn through continue-as-new: no reasoning, no steps."""

    turn: int
    message_id: str
    text_digest: str
    question: str
    answer: str
    verdict: Verdict
    state: TurnState = "done"
    intent: str | None = None
    confidence: float | None = None
    language: str = "und"
    tokens: int = 0
    seconds: float = 0.0


def newest_within(turns: Sequence[TurnSummary], most: int = MAX_CARRIED_BYTES) -> list[TurnSummary]:
    """The newest of ``turns`` (oldest first) whose texts have ``most`` bytes together; the last one in any case."""
    found: list[TurnSummary] = []
    for turn in reversed(turns):
        most -= len((turn.question + turn.answer).encode(errors="surrogatepass"))
        if found and most < 0:
            break
        found.append(turn)
    return found[::-1]


class Transcript(Value):
    """The answer of the ``transcript`` query. ``older`` turns are read from the audit."""

    conversation: str
    tenant: str
    older: int = Field(default=0, description="turns that are no longer carried")
    turns: tuple[TurnSummary, ...] = ()
    waiting: tuple[int, ...] = Field(default=(), description="turns that wait for a person")
    closed: bool = False


class CarriedId(Value):
    """A message id that was used, with a digest of its text, so that a repetition is known as one."""

    message_id: str
    text_digest: str
    turn: int


class Recalled(Value):
    """What the audit still knows of a conversation: its last turns, oldest first, and how many there were."""

    turns: tuple[TurnSummary, ...] = ()
    ids: tuple[CarriedId, ...] = Field(default=(), description="of turns that are too much to be told, too")
    total: int = 0
    foreign: bool = Field(default=False, description="it was another tenant's")
    reply: Reply | None = Field(default=None, description="of the one turn that was asked for")


class Carried(Value):
    """What a conversation takes along through continue-as-new."""

    turns: tuple[TurnSummary, ...] = ()
    ids: tuple[CarriedId, ...] = ()
    total: int = Field(default=0, description="turns so far")
    seen: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="values of keyword-list attributes")
    page: str = Field(default="", exclude_if=operator.not_, description="the chat page's address, where it is known")


class ConversationEnd(Value):
    """The result of a closed conversation."""

    conversation: str
    tenant: str
    turns: int
    reason: Literal["closed", "idle"]
