"""One candidate while it is sampled: from the engine's token events to the token log."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import structlog

from activities.reading import AnswerReader, Piece
from dialogue.faults import RecordsFault, TokenLogFenced
from dialogue.steps import Candidate, CandidateFinish, GenerateAnswer
from model_runtime.protocol import Engine, GenerationRequest, Sampling, TokenEvent
from model_runtime.tokenizer import Tokenizer
from records.token_log import TokenLog
from records.trace_context import current_trace
from records.tracing import Attributes, span, span_between

__all__ = ["CandidateSampler"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("activities")


@dataclass(slots=True)
class CandidateSampler:
    """Samples candidate ``index`` of one try. ``show``: whether readers of the stream see it grow. ``provider`` is the
    engine's kind, as its span names it.

    Token ids are logged as they come, under this attempt's fence: a worker that was replaced writes nothing more.
    """

    request: GenerateAnswer
    index: int
    attempt: int
    sampling: Sampling
    tokenizer: Tokenizer
    token_log: TokenLog
    show: bool
    provider: str = "parley"
    ids: list[int] = field(default_factory=list[int])
    logprobs: list[float | None] = field(default_factory=list[float | None])
    resumed_at: int = 0
    reused: int = 0
    finish: CandidateFinish = "none"
    first_token_at: float | None = None
    reader: AnswerReader = field(init=False)
    _logging: bool = True

    def __post_init__(self) -> None:
        self.reader = AnswerReader(self.request, self.tokenizer, self.sampling.thinking_budget)

    async def run(self, engine: Engine, prompt_ids: tuple[int, ...], clock: Callable[[], float]) -> None:
        """Until the engine says that it is finished, or the answer drifts into another language: then it is stopped.

        Raises EngineLost, EngineHung, PromptTooLong, TokenLogFenced.
        """
        await self._resume()
        if self.reader.drifted:
            self.finish = "wrong_language"
            return
        with span(f"chat {self.request.model}", "client", self._asked(prompt_ids)) as told:
            started = clock()
            try:
                await self._draw(engine, prompt_ids, clock)
            finally:
                told.note(self._answered(started))
                self._phases(started, clock())

    async def _draw(self, engine: Engine, prompt_ids: tuple[int, ...], clock: Callable[[], float]) -> None:
        trace = current_trace.get()
        request = GenerationRequest(
            id=f"{self.request.turn.stream}/{self.request.try_number}/{self.index}/{self.attempt}",
            prompt_ids=prompt_ids,
            prefix_ids=tuple(self.ids),
            sampling=self.sampling,
            traceparent=trace.traceparent if trace else "",
        )
        # Closed, or a fence that is met here would leave the engine at work for nobody.
        async with aclosing(engine.submit(request)) as events:
            async for event in events:
                self.reused = event.reused
                if event.token_ids and self.first_token_at is None:
                    self.first_token_at = clock()
                await self._take(event)
                if self.reader.drifted:
                    await engine.cancel(request.id)
                    break
            async for _ in events:  # until the row is free; what was made in the meantime does not count
                pass

    # the candidate as a span ---------------------------------------------------------------------

    def _asked(self, prompt_ids: tuple[int, ...]) -> Attributes:
        sampling, turn = self.sampling, self.request.turn
        return {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": self.provider,
            "gen_ai.conversation.id": turn.conversation,
            "gen_ai.request.model": self.request.model,
            "gen_ai.request.temperature": sampling.temperature,
            "gen_ai.request.top_p": sampling.top_p,
            "gen_ai.request.max_tokens": sampling.max_new_tokens,
            "gen_ai.request.seed": sampling.seed,
            "gen_ai.request.stream": True,
            "gen_ai.usage.input_tokens": len(prompt_ids),
            "parley.model_digest": self.request.model_digest,
            "parley.turn": turn.turn,
            "parley.try": self.request.try_number,
            "parley.candidate": self.index,
            "parley.resumed_at": self.resumed_at,
        }

    def _answered(self, started: float) -> Attributes:
        first = self.first_token_at
        return {
            "gen_ai.response.model": self.request.model,
            "gen_ai.response.finish_reasons": (self.finish,),
            "gen_ai.response.time_to_first_chunk": None if first is None else first - started,
            "gen_ai.usage.output_tokens": len(self.ids),
            "gen_ai.usage.reasoning.output_tokens": self.reader.reasoning_tokens,
            "gen_ai.usage.cache_read.input_tokens": self.reused,
        }

    def _phases(self, started: float, ended: float) -> None:
        """What the engine did of it: until its first token it waited for a row and took the prompt in."""
        first = ended if self.first_token_at is None else self.first_token_at
        span_between("prefill", started, first, {"parley.reused_prompt_tokens": self.reused})
        if self.first_token_at is not None:
            made = len(self.ids) - self.resumed_at
            span_between("decode", first, ended, {"parley.tokens": made})

    # tokens --------------------------------------------------------------------------------------

    async def _take(self, event: TokenEvent) -> None:
        before = self.reader.read
        pieces = self.reader.feed(event.token_ids)
        if self.reader.drifted:
            self.finish = "wrong_language"
        elif event.finish is not None:
            self.finish = event.finish
        if self.finish != "none":
            pieces += self.reader.end()
        taken = self.reader.read - before
        if event.logprobs is not None:
            self.logprobs.extend(event.logprobs[:taken])
        await self._append(event.token_ids[:taken], pieces)

    async def _resume(self) -> None:
        """Takes over what earlier attempts logged, and fences them."""
        try:
            resume = await self.token_log.open_attempt(
                self.request.turn.stream, self.request.try_number, self.index, self.attempt
            )
        except TokenLogFenced:
            raise
        except RecordsFault as fault:
            self._lose_log(fault)
            return
        self.reader.feed(resume.token_ids)
        self.ids = list(resume.token_ids[: self.reader.read])
        self.resumed_at = len(self.ids)
        self.logprobs = [None] * self.resumed_at  # whoever made them kept no record

    async def _append(self, token_ids: tuple[int, ...], pieces: list[Piece]) -> None:
        offset = len(self.ids)
        self.ids.extend(token_ids)
        if not self._logging or not (token_ids or pieces):
            return
        shown = [("reasoning" if channel == "reasoning" else "token", text) for channel, text in pieces]
        try:
            await self.token_log.append_tokens(
                self.request.turn.stream,
                self.request.try_number,
                self.index,
                self.attempt,
                offset,
                token_ids,
                shown,
                show=self.show,
            )
        except TokenLogFenced as fault:
            if not fault.details.get("behind"):
                raise
            self._lose_log(fault)
        except RecordsFault as fault:
            self._lose_log(fault)

    def _lose_log(self, fault: RecordsFault) -> None:
        """A log that is full, gone, or lost what it held costs the stream and the resumption, never the answer."""
        self._logging = False
        log.warning("token log lost", fault=fault.type, reason=fault.message)

    def candidate(self) -> Candidate:
        reader = self.reader
        return Candidate(
            answer=reader.text("answer"),
            reasoning=reader.text("reasoning"),
            finish_reason=self.finish,
            tokens=len(self.ids),
            reasoning_tokens=reader.reasoning_tokens,
            reasoning_truncated=reader.truncated,
            reasoning_bypassed=reader.bypassed,
            seed=self.sampling.seed,
        )
