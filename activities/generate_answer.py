"""Step 4: the model writes. Durable: a killed worker's tokens are in the log, and the next attempt goes on from them.

The heartbeat names the attempts; token ids go to the token log as they are made. What an exact rerun needs (prompt
ids, output ids, engine, sampling, resume points) is stored by content, and the result holds its digest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import structlog
from temporalio import activity

from activities.heartbeats import INTERVAL, GenerationProgress, attempts_before, heartbeating, in_failure
from activities.sampling import CandidateSampler
from activities.stream_events import StreamEvents
from dialogue.faults import EngineHung, EngineLost, ParleyFault, RecordsFault, UnknownModel
from dialogue.plan import Poor
from dialogue.steps import Attempt, Candidate, GenerateAnswer, GeneratedAnswer, Usage
from model_runtime.keeper import EngineKeeper
from model_runtime.prompt import Prompt, build_prompt
from model_runtime.protocol import Engine, EngineDescription, Sampling
from model_runtime.tokenizer import Tokenizer
from policy.language import wrong_language
from records.content import ContentStore
from records.token_log import TokenLog

__all__ = ["GenerateAnswerStep", "ServedModel"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("activities")

_POOR_FINISH: dict[str, Poor] = {
    "out_of_memory": "out_of_memory",
    "repetition": "repetition",
    "wrong_language": "wrong_language",
    "timed_out": "timed_out",
}


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that this worker holds. ``logprobs``: the record of a try tells how likely each token was."""

    name: str
    digest: str
    tokenizer: Tokenizer
    keeper: EngineKeeper
    logprobs: bool = False


@dataclass(slots=True)
class _Try:
    """The state of this attempt at a try, for heartbeats and for the result."""

    before: tuple[Attempt, ...]
    now: Attempt
    prompt: Prompt | None = None
    engine: EngineDescription | None = None
    samplers: list[CandidateSampler] = field(default_factory=list[CandidateSampler])

    def attempt(self, *, ended: bool = False, failure: str = "") -> Attempt:
        resumed = sum(sampler.resumed_at for sampler in self.samplers)
        made = sum(len(sampler.ids) for sampler in self.samplers)
        return self.now.model_copy(
            update={
                "tokens": made - resumed,
                "resumed_at": resumed,
                "ended": time.time() if ended else None,
                "failure": failure,
            }
        )

    def progress(self) -> GenerationProgress:
        return GenerationProgress(
            attempts=(*self.before, self.now if self.now.ended else self.attempt()),
            prompt_digest=self.prompt.digest if self.prompt else "",
            engine_digest=self.engine.engine_digest if self.engine else "",
        )


class GenerateAnswerStep:
    """``identity`` is this worker's name; ``heartbeat_seconds`` also bounds how late a cancel arrives."""

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        token_log: TokenLog,
        contents: ContentStore,
        events: StreamEvents,
        *,
        identity: str,
        heartbeat_seconds: float = INTERVAL,
    ) -> None:
        self._models = models
        self._token_log = token_log
        self._contents = contents
        self._events = events
        self._identity = identity
        self._heartbeat_seconds = heartbeat_seconds

    @activity.defn(name="generate_answer")
    async def generate_answer(self, request: GenerateAnswer) -> GeneratedAnswer:
        """Raises UnknownModel, PromptTooLong, ModelCorrupt, ModelMissing; EngineLost, EngineHung and EngineBusy
        (attempted again, from where it was)."""
        started = time.time()
        number = activity.info().attempt
        state = _Try(attempts_before(), Attempt(number=number, worker=self._identity, started=started))
        if request.try_number > 1:
            data = {"try": request.try_number, "why": request.why or ""}
            await self._events.publish(request.turn, "retry", data, key=f"retry:{request.try_number}")
        async with heartbeating(state.progress, self._heartbeat_seconds):
            try:
                await self._sample(request, state)
            except ParleyFault as fault:
                state.now = state.attempt(ended=True, failure=f"{fault.type}: {fault.message}")
                # An engine that is lost tells all its turns so with one object: what is this turn's goes on a copy.
                raise fault.with_details(attempts=in_failure((*state.before, state.now))) from fault
            except asyncio.CancelledError:
                state.now = state.attempt(ended=True, failure="cancelled")
                raise
            state.now = state.attempt(ended=True)
            seconds = time.time() - started
            # Still heartbeating: a database that lets us wait must not look like a worker that died.
            record = await self._keep_record(request, state)
            await _measure(self._model(request), state)
        return self._result(request, state, record, seconds)

    async def _sample(self, request: GenerateAnswer, state: _Try) -> None:
        model = self._model(request)
        engine = await model.keeper.ready()
        state.engine = description = await engine.describe()
        state.prompt = prompt = await asyncio.to_thread(_prompt, request, model.tokenizer, description)
        state.samplers = [
            CandidateSampler(
                request,
                index,
                state.now.number,
                _sampling(request, index, logprobs=model.logprobs),
                model.tokenizer,
                self._token_log,
                show=request.candidates == 1,
                provider=description.engine,
            )
            for index in range(request.candidates)
        ]
        try:
            async with asyncio.timeout(_seconds_for_sampling()):
                await _run_all(state.samplers, engine, prompt)
        except TimeoutError:
            for sampler in state.samplers:
                sampler.finish = "timed_out" if sampler.finish == "none" else sampler.finish
        except (EngineLost, EngineHung) as fault:
            model.keeper.lost(fault)
            raise

    def _model(self, request: GenerateAnswer) -> ServedModel:
        model = self._models.get(request.model)
        if model is None or model.digest != request.model_digest:
            held = ", ".join(f"{each.name}@{each.digest[:12]}" for each in self._models.values())
            raise UnknownModel(
                f"model: this worker does not hold {request.model}@{request.model_digest[:12]} but {held}. "
                "Start a worker with that model, or let new turns use this one."
            )
        return model

    def _result(self, request: GenerateAnswer, state: _Try, record: str, seconds: float) -> GeneratedAnswer:
        candidates = tuple(sampler.candidate() for sampler in state.samplers)
        poors: list[Poor | None] = [
            _poor(request, candidate, closed=sampler.reader.closed)
            for candidate, sampler in zip(candidates, state.samplers, strict=True)
        ]
        kept = next((index for index, poor in enumerate(poors) if poor is None), 0)
        best, sampler = candidates[kept], state.samplers[kept]
        prompt, engine = state.prompt, state.engine
        if prompt is None or engine is None:
            raise EngineLost("the engine was lost before it took the prompt")
        first = min((each.first_token_at for each in state.samplers if each.first_token_at), default=None)
        return GeneratedAnswer(
            answer=best.answer,
            reasoning=best.reasoning,
            reasoning_truncated=best.reasoning_truncated,
            reasoning_bypassed=best.reasoning_bypassed,
            finish_reason=best.finish_reason,
            poor=poors[kept],
            usage=Usage(
                prompt_tokens=len(prompt.ids),
                completion_tokens=sum(each.tokens for each in candidates),
                reasoning_tokens=sum(each.reasoning_tokens for each in candidates),
            ),
            model=request.model,
            model_digest=request.model_digest,
            engine_digest=engine.engine_digest,
            prompt_digest=prompt.digest,
            record=record,
            seed=best.seed,
            temperature=request.temperature,
            top_p=request.top_p,
            resumed_at=sampler.resumed_at,
            attempts=(*state.before, state.now),
            cut=prompt.cut,
            shown=prompt.shown,
            candidates=candidates,
            kept=kept,
            first_token_seconds=None if first is None else first - state.now.started,
            seconds=seconds,
        )

    async def _keep_record(self, request: GenerateAnswer, state: _Try) -> str:
        """All that an exact rerun needs. Lost records cost the rerun, not the answer: the digest is then empty."""
        prompt, engine = state.prompt, state.engine
        if prompt is None or engine is None:
            return ""
        record = {
            "turn": request.turn.model_dump(),
            "try": request.try_number,
            "prompt_ids": prompt.ids,
            "prompt_digest": prompt.digest,
            "engine": asdict(engine),
            "candidates": [
                {
                    "output_ids": sampler.ids,
                    "logprobs": sampler.logprobs if sampler.sampling.logprobs else None,
                    "sampling": asdict(sampler.sampling),
                    "resumed_at": sampler.resumed_at,
                    "reused_prompt_tokens": sampler.reused,
                    "finish": sampler.finish,
                    "reasoning_truncated": sampler.reader.truncated,
                    "reasoning_bypassed": sampler.reader.bypassed,
                }
                for sampler in state.samplers
            ],
            "resume_points": [attempt.resumed_at for attempt in (*state.before, state.now)],
        }
        try:
            return await self._contents.put("try", record, workflow=request.turn.conversation)
        except RecordsFault as fault:
            log.warning("try record lost", fault=fault.type, reason=fault.message)
            return ""


async def _measure(model: ServedModel, state: _Try) -> None:
    """What operators watch: tokens made, and how full the batch was."""
    meter, labels = activity.metric_meter(), {"model": model.name}
    meter.create_counter("parley_tokens", "Tokens generated", "tokens").add(state.now.tokens, labels)
    engine = model.keeper.engine
    if engine is None:  # lost in the meantime: the answer need not wait for it
        return
    try:
        stats = await engine.stats()
    except (EngineLost, EngineHung) as fault:
        model.keeper.lost(fault)
        return
    for name in (
        *("steps", "max_rows_in_a_step", "prefill_tokens", "rows_limit", "put_back", "reused_tokens", "cancelled"),
    ):
        meter.create_gauge(f"parley_engine_{name}", f"The engine's {name.replace('_', ' ')}").set(stats[name], labels)
    meter.create_gauge("parley_engine_restarts", "How often the engine was started again").set(
        model.keeper.restarts, labels
    )


async def _run_all(samplers: Sequence[CandidateSampler], engine: Engine, prompt: Prompt) -> None:
    """All candidates in one batch. Raises the first fault itself, not the group it came in."""
    try:
        async with asyncio.TaskGroup() as group:
            for sampler in samplers:
                group.create_task(sampler.run(engine, prompt.ids, time.time))
    except* ParleyFault as faults:
        first: BaseException = faults
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


def _seconds_for_sampling() -> float:
    """A little less than the attempt may take, so that its tokens come back as a result and not as a timeout."""
    allowed = activity.info().start_to_close_timeout
    return allowed.total_seconds() * 0.9 if allowed else 3600.0


def _prompt(request: GenerateAnswer, tokenizer: Tokenizer, engine: EngineDescription) -> Prompt:
    return build_prompt(
        tokenizer=tokenizer,
        question=request.question,
        files=request.files,
        language=request.language,
        passages=request.passages,
        retrieved=request.retrieved,
        history=request.history,
        reasoning=request.reasoning,
        context=min(engine.context, engine.widths[-1]),
        max_new_tokens=request.max_new_tokens,
        max_passages=request.max_passages,
        # Of the day it was asked, so that another attempt, and a rerun, prompts alike.
        today=activity.info().scheduled_time.date().isoformat() if request.reasoning == "r1" else None,
    )


def _sampling(request: GenerateAnswer, index: int, *, logprobs: bool = False) -> Sampling:
    return Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed + index,
        max_new_tokens=request.max_new_tokens,
        # a model that does not reason would get the closing tag of nothing into its answer
        thinking_budget=request.thinking_budget if request.reasoning == "r1" else None,
        logprobs=logprobs,
    )


def _poor(request: GenerateAnswer, candidate: Candidate, *, closed: bool) -> Poor | None:
    """What is wrong with a sample by itself; what it says is for the review. ``closed``: its reasoning was."""
    if candidate.finish_reason in _POOR_FINISH:
        return _POOR_FINISH[candidate.finish_reason]
    if not candidate.answer:
        used_up = not closed or candidate.finish_reason == "length"
        return "unclosed_reasoning" if candidate.reasoning and used_up else "empty"
    if wrong_language(candidate.answer, request.language):
        return "wrong_language"
    return None
