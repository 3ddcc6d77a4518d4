"""The six steps as a script: real types and a real server, with every result chosen by the test.

A question's words choose what happens, so that a test reads in its messages: ``refuse``, ``greeting``, ``human``,
``repeat`` (the first try goes in circles), ``bad`` (the review wants another), ``slow`` (waits until released),
``dies`` (in the middle of its first attempt) … Faults of the machinery are :mod:`tests.support.scripted_faults`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, MutableSequence, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.return_answer import final_data
from activities.stream_events import StreamEvents
from dialogue.messages import Feedback, TurnKey, message_digest, text_digest
from dialogue.plan import StepName, StepPlan, TurnPlan
from dialogue.steps import (
    Candidate,
    GenerateAnswer,
    GeneratedAnswer,
    QuotePassages,
    RecallConversation,
    ReceivedFile,
    ReceivedInput,
    ReceiveInput,
    RecognisedIntent,
    RecogniseIntent,
    RetrievedKnowledge,
    RetrieveKnowledge,
    ReturnAnswer,
    ReturnedAnswer,
    ReviewAnswer,
    ReviewedAnswer,
    StepDone,
    Usage,
)
from dialogue.turn import Recalled, Reply, TurnSummary
from records.token_log import TokenLog
from tests.support.scripted_plan import FAULTS, PASSAGE, scripted_plan
from workflows.conversation_workflow import ConversationWorkflow
from workflows.dialogue_workflow import DialogueWorkflow

__all__ = ["SAID", "ScriptedSteps", "scripted_worker"]

SAID = "You have 30 days [1]."


@dataclass
class ScriptedSteps:
    """``rows`` are the audit rows by (conversation, turn); ``calls`` every activity in order. ``planner`` makes the
    turns' plans where the script's own will not do. With a ``token_log`` each turn has its stream, ``reasoning`` and
    answer in pieces of a word, as the real steps write it."""

    queue: str
    human_timeout: float = 3600.0
    planner: Callable[[ReceiveInput], TurnPlan] | None = None
    max_seconds: float = 600.0
    max_turn_tokens: int | None = None
    reasoning: str = ""
    plans: dict[StepName, StepPlan] = field(default_factory=dict[StepName, StepPlan])
    rows: dict[tuple[str, int], ReturnAnswer] = field(default_factory=dict)
    calls: MutableSequence[tuple[str, Any]] = field(default_factory=list)
    feedback: list[tuple[str, Feedback]] = field(default_factory=list)
    judged: asyncio.Queue[Feedback] = field(default_factory=asyncio.Queue)
    token_log: TokenLog | None = None
    running: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def tell(self, key: TurnKey, kind: str, data: dict[str, Any]) -> None:
        if self.token_log is not None:
            info = activity.info()
            once = f"step:{info.activity_id}:{info.attempt}" if kind == "step" else f"{kind}:{data.get('try', '')}"
            await StreamEvents(self.token_log).publish(key, kind, data, key=once)

    async def _write(self, request: GenerateAnswer, answer: str) -> None:
        """The thinking and the answer in pieces of a word; of a ``slow`` one the first alone until it is released."""
        if self.token_log is None:
            await self._hold(request.question)
            return
        place = (request.turn.stream, request.try_number, 0, activity.info().attempt)
        offset = len((await self.token_log.open_attempt(*place)).token_ids)
        texts = (("reasoning", self.reasoning), ("token", answer))
        pieces = [(kind, piece) for kind, text in texts for piece in re.findall(r"\S+\s*", text)]
        for index, piece in enumerate(pieces):
            if index == 1:
                await self._hold(request.question)
            if index == 2 and "dies" in request.question and activity.info().attempt == 1:
                raise ApplicationError("the script says its worker died", type="engine-lost")
            if index >= offset:
                await self.token_log.append_tokens(*place, index, [index], [piece])

    async def _hold(self, question: str) -> None:
        if "slow" not in question:
            return
        self.running.set()
        while not self.release.is_set():
            activity.heartbeat()
            await asyncio.sleep(0.02)

    def called(self, step: str) -> list[Any]:
        return [argument for name, argument in self.calls if name == step]

    def _plan(self, request: ReceiveInput) -> TurnPlan:
        if self.planner is not None:
            return self.planner(request)
        return scripted_plan(
            request,
            self.queue,
            human_timeout=self.human_timeout,
            max_seconds=self.max_seconds,
            max_turn_tokens=self.max_turn_tokens,
            steps=self.plans,
        )

    @activity.defn(name="receive_input")
    async def receive_input(self, request: ReceiveInput) -> ReceivedInput:
        self.calls.append(("receive_input", request))
        if self.token_log is not None:
            await StreamEvents(self.token_log).accepted(
                request.turn, request.message_id, message_digest(request.text, request.files)
            )
        await self.tell(request.turn, "step", {"step": "receive_input", "attempt": 1})
        if "unreadable" in request.text:
            raise ApplicationError("the policy cannot be used", type="policy", non_retryable=True)
        if "flaky" in request.text and activity.info().attempt < 3:
            raise ApplicationError("the database is away", type="records-unavailable")
        refused = "refuse" in request.text
        return ReceivedInput(
            text=request.text.replace("13812345678", "███████████"),
            files=tuple(
                ReceivedFile(name=file.name, text=file.text, digest=text_digest(file.text)) for file in request.files
            ),
            language="zh" if any("\u4e00" <= letter <= "\u9fff" for letter in request.text) else "en",
            tokens=len(request.text.split()),
            decision="refuse" if refused else "pass",
            refusal="We cannot help with that." if refused else None,
            plan=self._plan(request),
            done=StepDone(attempt=activity.info().attempt, pool="dialogue", worker="test", milliseconds=1.0),
        )

    @activity.defn(name="recognise_intent")
    async def recognise_intent(self, request: RecogniseIntent) -> RecognisedIntent:
        self.calls.append(("recognise_intent", request))
        if "broken" in request.text:
            raise ApplicationError("no classifier", type="intents")
        route, intent, reply = "retrieve", "return_item", None
        if "greeting" in request.text:
            route, intent, reply = "template", "greeting", "Hello!"
        elif "weather" in request.text:
            route, intent, reply = "template", None, "I know about returns."
        elif "human" in request.text:
            route, intent = "human", "speak_to_person"
        elif "chat" in request.text:
            route, intent = "generate", "small_talk"
        return RecognisedIntent(intent=intent, confidence=0.9, route=route, reply=reply, model="m")  # type: ignore[arg-type]

    @activity.defn(name="retrieve_knowledge")
    async def retrieve_knowledge(self, request: RetrieveKnowledge) -> RetrievedKnowledge:
        self.calls.append(("retrieve_knowledge", request))
        return RetrievedKnowledge(snapshot="5" * 64, passages=(PASSAGE,), best=0.8, searched=("lexical",))

    @activity.defn(name="generate_answer")
    async def generate_answer(self, request: GenerateAnswer) -> GeneratedAnswer:
        self.calls.append(("generate_answer", request))
        question, poor = request.question, None
        if request.try_number > 1:
            await self.tell(request.turn, "retry", {"why": request.why or "", "try": request.try_number})
        await self.tell(request.turn, "step", {"step": "generate_answer", "attempt": activity.info().attempt})
        first, fallback = request.try_number == 1, request.model == "scripted-fallback"
        if "repeat" in question and first:
            poor = "repetition"
        if "nothing" in question:
            poor = "empty"
        if "ponder" in question and request.thinking_budget is None:
            poor = "unclosed_reasoning"
        if "misspoken" in question and not fallback:
            poor = "wrong_language"
        mended = {
            "memory": request.max_passages is not None,
            "tires": not first,
            "exceeds": not first,
            "outage": fallback,
        }
        for word, fault in FAULTS.items():
            if word in question and ("always" in question or not mended.get(word)):
                raise ApplicationError(f"the script says {word}", type=fault, non_retryable=fault != "engine-lost")
        answer = SAID if "sayword" not in question else question.split("sayword ", 1)[1]
        await self._write(request, answer)
        candidates = tuple(
            Candidate(answer=f"{answer} ({index})", finish_reason="stop", tokens=8)
            for index in range(request.candidates)
        )
        return GeneratedAnswer(
            answer="" if poor == "empty" else candidates[0].answer,
            reasoning=self.reasoning,
            finish_reason=poor or "stop",
            poor=poor,  # type: ignore[arg-type]
            usage=Usage(prompt_tokens=20, completion_tokens=8 * request.candidates),
            model=request.model,
            model_digest=request.model_digest,
            seed=request.seed,
            shown=("p1",),
            candidates=candidates,
            seconds=0.1,
        )

    @activity.defn(name="quote_passages")
    async def quote_passages(self, request: QuotePassages) -> GeneratedAnswer:
        self.calls.append(("quote_passages", request))
        return GeneratedAnswer(
            answer="You have 30 days. [1]",
            finish_reason="stop",
            usage=Usage(),
            model="quotation",
            model_digest="",
            shown=("p1",),
            quoted=True,
        )

    @activity.defn(name="review_answer")
    async def review_answer(self, request: ReviewAnswer) -> ReviewedAnswer:
        self.calls.append(("review_answer", request))
        await self.tell(request.turn, "step", {"step": "review_answer", "attempt": 1})
        if "unreviewed" in request.question:
            raise ApplicationError("a word list is gone", type="policy", non_retryable=True)
        plain = not request.candidates and not request.quoted
        verdict = "pass"
        if "doubtful" in request.question:
            verdict = "human"
        elif ("worst" in request.question and not request.quoted) or ("bad" in request.question and plain):
            verdict = "regenerate"
        elif "block" in request.question:
            verdict = "block"
        kept = len(request.candidates) - 1 if request.candidates else 0
        answer = request.candidates[kept].answer if request.candidates else request.answer
        return ReviewedAnswer(verdict=verdict, answer=answer, kept=kept, reason="" if verdict == "pass" else "a rule")  # type: ignore[arg-type]

    @activity.defn(name="return_answer")
    async def return_answer(self, request: ReturnAnswer) -> ReturnedAnswer:
        self.calls.append(("return_answer", request))
        self.rows[request.turn.conversation, request.turn.turn] = request
        reply = request.answer if request.answer is not None else f"({request.verdict})"
        await self.tell(request.turn, "final", final_data(request, reply, activity.info()))
        return ReturnedAnswer(reply=reply, audit_id=len(self.rows), audit_hash="0" * 64, returned_at=time.time())

    @activity.defn(name="recall_conversation")
    async def recall_conversation(self, request: RecallConversation) -> Recalled:
        self.calls.append(("recall_conversation", request))
        kept = [row for (name, _), row in sorted(self.rows.items()) if name == request.conversation]
        rows = [row for row in kept if row.turn.tenant == request.tenant]
        if kept and not rows:
            return Recalled(foreign=True)
        if request.turn is not None:
            return Recalled(reply=next((_reply(row) for row in rows if row.turn.turn == request.turn), None))
        return Recalled(turns=tuple(_summary(row) for row in rows), total=len(rows))

    @activity.defn(name="keep_feedback")
    async def keep_feedback(self, conversation: str, feedback: Feedback) -> None:
        if "unkept" in feedback.comment:
            raise ApplicationError("the script says its key is gone", type="key-missing", non_retryable=True)
        self.feedback.append((conversation, feedback))
        self.judged.put_nowait(feedback)

    def activities(self) -> Sequence[Callable[..., Any]]:
        return [
            self.receive_input,
            self.recognise_intent,
            self.retrieve_knowledge,
            self.generate_answer,
            self.quote_passages,
            self.review_answer,
            self.return_answer,
            self.recall_conversation,
            self.keep_feedback,
        ]


def _reply(row: ReturnAnswer) -> Reply:
    return Reply(
        conversation=row.turn.conversation,
        turn=row.turn.turn,
        message_id=row.message_id,
        text_digest=row.question_digest,
        tenant=row.turn.tenant,
        state="done",
        answer=row.answer or f"({row.verdict})",
        language=row.language,
        verdict=row.verdict,
        workflow_id=row.turn.conversation,
        run_id="",
        received_at=row.received_at,
    )


def _summary(row: ReturnAnswer) -> TurnSummary:
    return TurnSummary(
        turn=row.turn.turn,
        message_id=row.message_id,
        text_digest=row.question_digest,
        question=row.question,
        answer=row.answer or "",
        verdict=row.verdict,
    )


def scripted_worker(
    client: Client, steps: ScriptedSteps, *, more: Sequence[Callable[..., Any]] = (), **options: Any
) -> Worker:
    """A worker for both workflows, all scripted steps and ``more`` activities on ``steps.queue``."""
    return Worker(
        client,
        task_queue=steps.queue,
        workflows=[ConversationWorkflow, DialogueWorkflow],
        activities=[*steps.activities(), *more],
        max_heartbeat_throttle_interval=timedelta(seconds=0.1),
        **options,
    )
