"""A turn while it is under way: what each step gave, and what was decided."""

from __future__ import annotations

from contextvars import Context, copy_context
from dataclasses import dataclass, field
from datetime import datetime

from temporalio import workflow

from dialogue.messages import ChatMessage, ResolveReview, Say, TurnKey, message_digest, text_digest
from dialogue.plan import StepName, TextKind, TurnPlan
from dialogue.steps import (
    GeneratedAnswer,
    NamedFile,
    ReceivedFile,
    ReceivedInput,
    RecognisedIntent,
    RetrievedKnowledge,
    ReturnedAnswer,
    ReviewedAnswer,
    Usage,
    Verdict,
)
from dialogue.turn import Reply, StepRecord, TurnState, TurnSummary

__all__ = ["Decision", "TurnInProgress"]


@dataclass(frozen=True, slots=True)
class Decision:
    """How a turn ends. ``answer`` None: the policy's own text for this verdict. ``note``: why, in one line."""

    verdict: Verdict
    answer: str | None = None
    note: str = ""


@dataclass(slots=True)
class TurnInProgress:
    key: TurnKey
    say: Say
    received_at: datetime
    history: tuple[ChatMessage, ...] = ()
    said_at: datetime | None = None
    """Where it is known to have come before ``received_at``: a start waits for its worker."""
    state: TurnState = "queued"
    steps: list[StepRecord] = field(default_factory=list[StepRecord])
    received: ReceivedInput | None = None
    recognised: RecognisedIntent | None = None
    knowledge: RetrievedKnowledge | None = None
    draft: GeneratedAnswer | None = None
    reviewed: ReviewedAnswer | None = None
    returned: ReturnedAnswer | None = None
    decision: Decision | None = None
    resolution: ResolveReview | None = None
    fault: str | None = None
    """The type of the last fault that one of its steps ended with."""
    cancelled: str = ""
    returning: bool = False
    usage: Usage = field(default_factory=Usage)
    answered_at: datetime | None = None
    context: Context = field(default_factory=copy_context)
    """Of the message that said it: what came with that call (its trace) goes with the turn's steps."""

    @property
    def plan(self) -> TurnPlan | None:
        return self.received.plan if self.received else None

    @property
    def language(self) -> str:
        return self.received.language if self.received else "und"

    @property
    def question(self) -> str:
        """The message as the rest of the turn may see it: masked once it was received."""
        return self.received.text if self.received else self.say.text

    @property
    def files(self) -> tuple[ReceivedFile, ...]:
        """As the rest of the turn may see them; none before they were received."""
        return self.received.files if self.received else ()

    @property
    def named_files(self) -> tuple[NamedFile, ...]:
        """For the records. A name that the policy has not seen is not told."""
        if self.received:
            return tuple(NamedFile(name=file.name, digest=file.digest) for file in self.received.files)
        return tuple(
            NamedFile(name=f"file {number}", digest=text_digest(file.text))
            for number, file in enumerate(self.say.files, 1)
        )

    @property
    def digest(self) -> str:
        """Of the message as it came."""
        return message_digest(self.say.text, self.say.files)

    @property
    def settled(self) -> bool:
        """Whether whoever said it can be answered: it is done, or waits for a person."""
        return self.state in ("waiting", "done")

    def skip(self, step: StepName, why: str) -> None:
        self.steps.append(StepRecord(step=step, pool=None, result=f"skipped: {why}", skipped=True))

    def spend(self, usage: Usage) -> None:
        """Counts the tokens of one more try."""
        self.usage = Usage(
            prompt_tokens=self.usage.prompt_tokens + usage.prompt_tokens,
            completion_tokens=self.usage.completion_tokens + usage.completion_tokens,
            reasoning_tokens=self.usage.reasoning_tokens + usage.reasoning_tokens,
        )

    def text(self, kind: TextKind) -> str:
        """The tenant's fixed text in the language of the turn, else in English."""
        if self.plan is None:
            return ""
        by_language = self.plan.texts.get(kind, {})
        return by_language.get(self.language) or by_language.get("en") or ""

    def reply(self) -> Reply:
        """The turn as whoever said it gets it."""
        info = workflow.info()
        decision = self.decision or Decision("human", self.text("waiting"))
        waiting = self.state == "waiting"
        return Reply(
            conversation=self.key.conversation,
            turn=self.key.turn,
            message_id=self.say.message_id,
            text_digest=self.digest,
            tenant=self.key.tenant,
            state=self.state,
            answer=self.text("waiting") if waiting else self.returned.reply if self.returned else "",
            reasoning=self.told_reasoning(decision),
            language=self.language,
            verdict="human" if waiting else decision.verdict,
            intent=self.recognised.intent if self.recognised else None,
            confidence=self.recognised.confidence if self.recognised else None,
            citations=self.reviewed.citations if self.reviewed and self.shows_draft(decision) else (),
            findings=self.received.findings if self.received else (),
            model=self.draft.model if self.draft else None,
            model_digest=self.draft.model_digest if self.draft else None,
            finish_reason=self.draft.finish_reason if self.draft and self.shows_draft(decision) else None,
            snapshot=self.knowledge.snapshot if self.knowledge else None,
            usage=self.usage,
            steps=tuple(self.steps),
            note=decision.note,
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            received_at=self.received_at.timestamp(),
            answered_at=self.answered_at.timestamp() if self.answered_at else None,
            receipt=self.returned.receipt if self.returned else None,
        )

    def told_reasoning(self, decision: Decision) -> str:
        """The reasoning behind an answer that stands, as the review let it through; of another, none."""
        if self.draft is None or decision.verdict not in ("pass", "mask"):
            return ""
        if self.reviewed is not None and self.reviewed.reasoning is not None:
            return self.reviewed.reasoning
        return self.draft.reasoning

    def shows_draft(self, decision: Decision) -> bool:
        """Whether the reply is the reviewed draft itself, so that its citations belong to it."""
        return self.reviewed is not None and decision.answer == self.reviewed.answer

    def summary(self) -> TurnSummary:
        """What the conversation carries on of this turn."""
        reply = self.reply()
        until = self.answered_at or self.received_at
        return TurnSummary(
            turn=self.key.turn,
            message_id=self.say.message_id,
            text_digest=self.digest,
            question=self.question,
            answer=reply.answer,
            verdict=reply.verdict,
            state=self.state,
            intent=reply.intent,
            confidence=reply.confidence,
            language=self.language,
            tokens=self.usage.completion_tokens,
            seconds=(until - self.received_at).total_seconds(),
        )
