"""One candidate while it is sampled: from the engine's token events to the token log, text and reasoning apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import structlog

from dialogue.faults import RecordsFault, TokenLogFenced
from dialogue.steps import Candidate, GenerateAnswer
from model_runtime.protocol import Engine, GenerationRequest, Sampling
from model_runtime.reasoning import Channel, ReasoningParser
from model_runtime.tokenizer import Tokenizer
from records.token_log import TokenLog

__all__ = ["CandidateSampler"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("activities")
Finish = Literal["stop", "length", "repetition", "cancelled", "out_of_memory", "timed_out", "none"]


@dataclass(slots=True)
class CandidateSampler:
    """Samples candidate ``index`` of one try. ``show``: whether readers of the stream see it grow.

    Token ids are logged as they come, under this attempt's fence: a worker that was replaced writes nothing more.
    """

    request: GenerateAnswer
    index: int
    attempt: int
    sampling: Sampling
    tokenizer: Tokenizer
    token_log: TokenLog
    show: bool
    ids: list[int] = field(default_factory=list[int])
    resumed_at: int = 0
    reused: int = 0
    finish: Finish = "none"
    reasoning_tokens: int = 0
    first_token_at: float | None = None
    _logging: bool = True
    _texts: dict[Channel, list[str]] = field(default_factory=lambda: {"reasoning": [], "answer": []})

    async def run(self, engine: Engine, prompt_ids: tuple[int, ...], clock: Callable[[], float]) -> None:
        """Until the engine says that it is finished. Raises EngineLost, EngineHung, PromptTooLong, TokenLogFenced."""
        parser = ReasoningParser(self.request.reasoning)
        detokenizer = self.tokenizer.detokenizer()
        await self._resume()
        self._take(parser.feed(detokenizer.feed(self.ids)), parser, len(self.ids))
        request = GenerationRequest(
            id=f"{self.request.turn.stream}/{self.request.try_number}/{self.index}/{self.attempt}",
            prompt_ids=prompt_ids,
            prefix_ids=tuple(self.ids),
            sampling=self.sampling,
        )
        async for event in engine.submit(request):
            self.reused = event.reused
            if event.token_ids and self.first_token_at is None:
                self.first_token_at = clock()
            pieces = self._take(parser.feed(detokenizer.feed(event.token_ids)), parser, len(event.token_ids))
            if event.finish is not None:
                self.finish = event.finish
                pieces += self._take(parser.feed(detokenizer.flush()) + parser.close(), parser, 0)
            await self._append(event.token_ids, pieces)

    def _take(
        self, pieces: list[tuple[Channel, str]], parser: ReasoningParser, tokens: int
    ) -> list[tuple[Channel, str]]:
        if not parser.closed:
            self.reasoning_tokens += tokens
        for channel, text in pieces:
            self._texts[channel].append(text)
        return pieces

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
        self.ids = list(resume.token_ids)
        self.resumed_at = len(self.ids)

    async def _append(self, token_ids: tuple[int, ...], pieces: list[tuple[Channel, str]]) -> None:
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

    def text(self, channel: Channel) -> str:
        return "".join(self._texts[channel]).strip()

    def candidate(self) -> Candidate:
        return Candidate(
            answer=self.text("answer"),
            reasoning=self.text("reasoning"),
            finish_reason=self.finish,
            tokens=len(self.ids),
            reasoning_tokens=self.reasoning_tokens,
            seed=self.sampling.seed,
        )
