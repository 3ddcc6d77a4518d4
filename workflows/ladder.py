"""Steps 4 and 5: generate and review, and what changes in the next try when a try was poor.

A fault of the machinery is Temporal's to attempt again. A poor *result* is tried again here, by the rungs that the
plan holds for it, each recorded in the turn and named in the next try's summary.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.exceptions import TimeoutError as TemporalTimeout

from dialogue.plan import LadderPlan, Poor, Rung, TurnPlan
from dialogue.steps import GenerateAnswer, GeneratedAnswer, Passage, QuotePassages, Usage
from dialogue.turn import StepRecord
from workflows import steps
from workflows.progress import Decision, TurnInProgress
from workflows.wording import describe_draft, words

__all__ = ["generate_answer"]

# How a failed activity reads as a poor result. Anything else fails the turn.
_POOR_OF: dict[str, Poor] = {
    "out-of-memory": "out_of_memory",
    "prompt-too-long": "too_long",
    "generation-timed-out": "timed_out",
    "engine-lost": "engine_lost",
    "engine-hung": "engine_lost",
    "engine-busy": "engine_lost",
}
TEMPLATE = Rung(template=True)


@dataclass(slots=True)
class _Climb:
    """Where on the ladder a turn stands."""

    plan: LadderPlan
    used: dict[Poor, int] = field(default_factory=dict[Poor, int])
    tries: int = 0
    quoted: bool = False

    def left(self, made: int) -> int | None:
        """How many of the turn's tokens are left after ``made``; None: there is no bound."""
        return None if self.plan.max_turn_tokens is None else max(0, self.plan.max_turn_tokens - made)

    def next(self, poor: Poor, seconds: float, made: int = 0) -> Rung:
        """The next unused rung for ``poor``, after so many seconds and tokens made; the fallback template where there
        is none, or no time for it."""
        rungs = self.plan.rungs.get(poor, ())
        used = self.used.get(poor, 0)
        self.used[poor] = used + 1
        # What cannot even be quoted will not get better by sampling.
        exhausted = used >= len(rungs) or self.quoted or seconds >= self.plan.max_seconds
        if exhausted:
            return TEMPLATE
        rung = rungs[used]
        if (self.tries >= self.plan.max_tries or self.left(made) == 0) and not rung.ends:
            return next((last for last in rungs if last.ends), TEMPLATE)
        return rung


@dataclass(slots=True)
class _Try:
    """The arguments of the next try: what the plan says, as changed by every rung so far."""

    temperature: float
    top_p: float
    max_new_tokens: int
    thinking_budget: int | None
    passages: int | None
    history: int
    candidates: int
    model: str | None = None

    @classmethod
    def first(cls, plan: TurnPlan) -> _Try:
        generation = plan.generation
        return cls(
            temperature=generation.temperature,
            top_p=generation.top_p,
            max_new_tokens=generation.max_new_tokens,
            thinking_budget=generation.thinking_budget,
            passages=None,
            history=generation.history_turns,
            candidates=1,
        )

    def change(self, rung: Rung) -> None:
        for name in ("temperature", "top_p", "max_new_tokens", "thinking_budget", "passages", "history", "model"):
            value = getattr(rung, name)
            if value is not None:
                setattr(self, name, value)
        self.candidates = rung.candidates or 1

    def within(self, left: int | None) -> tuple[int, int]:
        """New tokens a candidate, and candidates: together no more than ``left``, which is at least 1; None: as many
        as were asked for."""
        if left is None:
            return self.max_new_tokens, self.candidates
        candidates = min(self.candidates, left)
        return min(self.max_new_tokens, left // candidates), candidates


async def generate_answer(turn: TurnInProgress) -> None:
    """Tries until an answer passes the review or the ladder ends; sets ``turn.decision``."""
    plan = turn.plan
    if turn.decision is not None or plan is None:
        why = turn.decision.note if turn.decision else "there is no plan"
        turn.skip("generate_answer", why)
        turn.skip("review_answer", why)
        return
    started = workflow.time()
    climb, request = _Climb(plan.ladder), _Try.first(plan)
    poor: Poor | None = None if turn.language in plan.model.languages else "language_unknown"
    rung: Rung | None = climb.next(poor, 0) if poor else None
    while True:
        if rung is not None and (rung.template or rung.human):
            _end(turn, rung, poor, climb)
            return
        climb.tries += 1
        if rung is not None:
            request.change(rung)
        draft = await _try(turn, plan, climb, request, rung, poor)
        turn.draft = draft
        poor = draft.poor
        if poor is None:
            try:
                reviewed = await steps.review_answer(turn, draft, climb.tries)
            except ActivityError as error:
                if plan.review.fail == "closed" or turn.cancelled:
                    raise
                turn.decision = Decision("pass", draft.answer, f"not reviewed: {steps.why_failed(error)}")
                return
            turn.reviewed = reviewed
            turn.draft = _with_kept(draft, reviewed.kept)
            if reviewed.verdict != "regenerate":
                answer = reviewed.answer if reviewed.verdict in ("pass", "mask", "human") else None
                turn.decision = Decision(reviewed.verdict, answer, reviewed.reason)
                return
            poor = "failed_review"
        rung = climb.next(poor, workflow.time() - started, turn.usage.completion_tokens)


def _with_kept(draft: GeneratedAnswer, kept: int) -> GeneratedAnswer:
    """The draft whose answer is the candidate that the review kept."""
    if len(draft.candidates) <= kept:
        return draft
    best = draft.candidates[kept]
    of_the_best = {
        "answer": best.answer,
        "reasoning": best.reasoning,
        "reasoning_truncated": best.reasoning_truncated,
        "reasoning_bypassed": best.reasoning_bypassed,
        "kept": kept,
    }
    return draft.model_copy(update=of_the_best)


def _end(turn: TurnInProgress, rung: Rung, poor: Poor | None, climb: _Climb) -> None:
    why = words(poor or "")
    if turn.reviewed is None:
        turn.skip("review_answer", f"{why}: there is nothing to review")
    if rung.human:
        turn.decision = Decision("human", turn.reviewed.answer if turn.reviewed else None, why)
    else:
        used_up = climb.left(turn.usage.completion_tokens) == 0
        end = "the turn's tokens are used up" if used_up else "the ladder is at its end"
        turn.decision = Decision("template", turn.text("fallback"), f"{why}: {end}")


async def _try(
    turn: TurnInProgress, plan: TurnPlan, climb: _Climb, request: _Try, rung: Rung | None, why: Poor | None
) -> GeneratedAnswer:
    changed = f"{words(why)} → {rung.describe()}" if rung and why else ""
    if rung is not None and rung.quote:
        climb.quoted = True
        draft = await _quote(turn, climb, why or "failed_review")
    else:
        draft = await _generate(turn, plan, climb, request, changed)
    turn.spend(draft.usage)
    turn.steps.append(
        StepRecord(
            step="generate_answer",
            pool=draft.done.pool or None,
            try_number=climb.tries,
            attempt=draft.done.attempt,
            milliseconds=draft.done.milliseconds,
            result=describe_draft(draft, changed),
        )
    )
    return draft


def _passages(turn: TurnInProgress) -> tuple[Passage, ...]:
    return turn.knowledge.passages if turn.knowledge else ()


async def _quote(turn: TurnInProgress, climb: _Climb, why: Poor) -> GeneratedAnswer:
    argument = QuotePassages(
        turn=turn.key,
        question=turn.question,
        language=turn.language,
        passages=_passages(turn),
        why=why,
        try_number=climb.tries,
    )
    note = f"try {climb.tries} of {climb.plan.max_tries}: {words(why)}"
    queue = turn.plan.steps["review_answer"].task_queue if turn.plan else None
    return await steps.schedule(
        turn, "review_answer", argument, GeneratedAnswer, activity="quote_passages", task_queue=queue, note=note
    )


async def _generate(
    turn: TurnInProgress, plan: TurnPlan, climb: _Climb, request: _Try, changed: str
) -> GeneratedAnswer:
    model = plan.other_models.get(request.model or "", plan.model)
    history = turn.history[-2 * request.history :] if request.history else ()
    max_new_tokens, candidates = request.within(climb.left(turn.usage.completion_tokens))
    argument = GenerateAnswer(
        turn=turn.key,
        try_number=climb.tries,
        why=changed or None,
        question=turn.question,
        files=turn.files,
        language=turn.language,
        passages=_passages(turn),
        retrieved=turn.knowledge is not None,
        history=history,
        temperature=request.temperature,
        top_p=request.top_p,
        max_new_tokens=max_new_tokens,
        max_passages=request.passages,
        thinking_budget=request.thinking_budget,
        candidates=candidates,
        # Every try draws other numbers, and each is known beforehand.
        seed=plan.generation.seed + 1000 * (climb.tries - 1),
        model=model.name,
        model_digest=model.digest,
        reasoning=model.reasoning,
    )
    note = f"try {climb.tries} of {plan.ladder.max_tries}: {changed}" if changed else ""
    try:
        return await steps.schedule(
            turn, "generate_answer", argument, GeneratedAnswer, task_queue=model.task_queue, note=note
        )
    except ActivityError as error:
        poor = _poor_of(error)
        if poor is None:
            raise
        return GeneratedAnswer(
            answer="",
            finish_reason="none",
            poor=poor,
            usage=Usage(),
            model=model.name,
            model_digest=model.digest,
        )


def _poor_of(error: ActivityError) -> Poor | None:
    cause = error.cause
    if isinstance(cause, TemporalTimeout):
        return "timed_out"
    if isinstance(cause, ApplicationError):
        return _POOR_OF.get(cause.type or "")
    return None
