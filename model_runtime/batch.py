"""The batch: which sequence has which row, and one step of all of them. No threads, no waiting: plain calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TypeVar

import torch
from torch import Tensor

from model_runtime.cache import Cache, Place
from model_runtime.decoder import Decoder
from model_runtime.protocol import Finish, GenerationRequest, TokenEvent
from model_runtime.repetition import ParagraphWatch, repeats
from model_runtime.sampler import sample

__all__ = ["Batch", "Counters", "Sequence", "is_memory_error"]

PREFILL_CHUNK = 256
"""Tokens of a prompt taken in per step: others wait no longer for a long prompt than for one chunk of it."""
REPLAY_CHUNK = 64
"""Tokens of an earlier attempt taken in per step."""
_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class Sequence:
    """One answer in the making.

    ``made`` holds all its tokens, those of earlier attempts included, ``logprobs`` how likely those drawn here were, if
    that was asked; ``held`` is how many tokens of prompt and
    answer the cache holds, ``reused`` how many of these another sequence had taken in; ``entered`` that the prompt is
    in and the first token drawn; ``reported`` how many of ``made`` were told. ``closing`` are the ids put in when the
    thinking budget is spent, ``thinking`` whether reasoning was still open at that moment.
    """

    request: GenerationRequest
    stop: frozenset[int]
    closing: tuple[int, ...] = ()
    thinking: bool | None = None
    paragraphs: ParagraphWatch = field(default_factory=ParagraphWatch)
    made: list[int] = field(default_factory=list)
    logprobs: list[float | None] = field(default_factory=list[float | None])
    held: int = 0
    reused: int = 0
    entered: bool = False
    reported: int = 0
    row: int = -1

    def __post_init__(self) -> None:
        self.made = list(self.request.prefix_ids)
        self.reported = len(self.made)
        self.logprobs = [None] * self.reported

    @property
    def tokens(self) -> list[int]:
        return [*self.request.prompt_ids, *self.made]

    @property
    def length(self) -> int:
        return len(self.request.prompt_ids) + len(self.made)

    def event(self, finish: Finish | None) -> TokenEvent:
        """What was made since the last event."""
        start, self.reported = self.reported, len(self.made)
        logprobs = tuple(self.logprobs[start:]) if self.request.sampling.logprobs else None
        return TokenEvent(self.request.id, start, tuple(self.made[start:]), finish, self.reused, logprobs)


@dataclass(slots=True)
class Counters:
    requests: int = 0
    steps: int = 0
    tokens: int = 0
    prefill_tokens: int = 0
    reused_tokens: int = 0
    rows_in_steps: Counter[int] = field(default_factory=Counter)
    put_back: int = 0
    finished: Counter[str] = field(default_factory=Counter)


class Batch:
    """``extents_equal`` says that a step over fewer rows gives each row the very same logits (see ``probe``): then
    a step covers the occupied rows only, otherwise always all of them. ``closes`` says whether reasoning is closed
    within some token ids."""

    def __init__(
        self, decoder: Decoder, cache: Cache, *, extents_equal: bool, closes: Callable[[list[int]], bool]
    ) -> None:
        self._decoder, self._cache = decoder, cache
        self._extents_equal, self._closes = extents_equal, closes
        self._entering: list[Sequence] = []
        self.rows: list[Sequence | None] = [None] * cache.rows
        self.put_back: list[Sequence] = []
        """Those that gave their row back for want of memory, to join again later; whoever takes them empties this."""
        self.counters = Counters()

    @property
    def busy(self) -> int:
        return sum(sequence is not None for sequence in self.rows)

    def join(self, sequence: Sequence) -> bool:
        """Gives the sequence the lowest free row; false where none is free."""
        if None not in self.rows:
            return False
        sequence.row = self.rows.index(None)
        self.rows[sequence.row] = sequence
        self._entering.append(sequence)
        return True

    def leave(self, sequence: Sequence, finish: Finish) -> TokenEvent:
        """Frees the row at once and gives the last event."""
        self._free(sequence)
        self.counters.finished[finish] += 1
        return sequence.event(finish)

    def _free(self, sequence: Sequence) -> None:
        self._cache.release(sequence.row)
        self.rows[sequence.row] = None
        if sequence in self._entering:
            self._entering.remove(sequence)

    def _give_way(self, sequence: Sequence) -> list[TokenEvent]:
        """There is no memory for this sequence. Beside others it gives its row back and keeps what it made; alone
        it ends, for nobody will make room."""
        if self.busy == 1:
            return [self.leave(sequence, "out_of_memory")]
        self._free(sequence)
        sequence.row, sequence.held, sequence.entered = -1, 0, False
        self.put_back.append(sequence)
        self.counters.put_back += 1
        return []

    def step(self) -> list[TokenEvent]:
        """One chunk of the next prompt, then one token of every row that is ready."""
        events = self._finished_before()
        if self._entering:
            events += self._enter(self._entering[0])
        events += self._decode()
        self.counters.steps += 1
        return events

    def _finished_before(self) -> list[TokenEvent]:
        """Answers that an earlier attempt had brought to their end already."""
        fresh = [s for s in self._entering if s.held == 0 and s.made]
        ends: list[tuple[Sequence, Finish | None]] = [(s, self._end(s)) for s in fresh]
        return [self.leave(s, end) for s, end in ends if end is not None]

    # entering

    def _enter(self, sequence: Sequence) -> list[TokenEvent]:
        """Takes in the next part of the prompt, or of what an earlier attempt made of the answer."""
        if sequence.held == 0:
            self._reuse(sequence)
        in_prompt = sequence.held < len(sequence.request.prompt_ids)
        logits = _unless_short(lambda: self._prefill(sequence) if in_prompt else self._replay(sequence))
        if logits is None:
            return self._give_way(sequence)
        if sequence.held < sequence.length:
            return []
        sequence.entered = True
        self._entering.remove(sequence)
        return [self._take(sequence, logits)]

    def _reuse(self, sequence: Sequence) -> None:
        """Copies whole chunks of the prompt that another row holds, or held: several candidates of one question, the
        next try, the next turn. They were computed just as this sequence would, so no token changes."""
        prompt = sequence.request.prompt_ids
        found = ((_common_chunks(prompt, place.prompt), place) for place in self._cache.places())
        common, donor = max(found, key=itemgetter(0), default=(0, None))
        if not common or donor is None:
            return
        place = _unless_short(lambda: self._cache.hold(sequence.row, common))
        if place is None:
            return  # taking it in tells
        if place != donor:
            place.take_over(donor, common)
        place.remember(prompt[:common])
        sequence.held = sequence.reused = common
        self.counters.reused_tokens += common

    def _prefill(self, sequence: Sequence) -> Tensor:
        start = sequence.held
        chunk = list(sequence.request.prompt_ids[start : start + PREFILL_CHUNK])
        place = self._cache.hold(sequence.row, start + len(chunk))
        logits = self._decoder.prefill(chunk, start, place)
        sequence.held += len(chunk)
        place.remember(sequence.request.prompt_ids[: sequence.held])
        self.counters.prefill_tokens += len(chunk)
        return logits

    def _replay(self, sequence: Sequence) -> Tensor:
        """As many tokens at a time as there are rows, each at the width it was decoded at."""
        made, prompt, rows = sequence.made, len(sequence.request.prompt_ids), len(self.rows)
        bound = min(sequence.length, sequence.held + REPLAY_CHUNK)
        while True:
            start = sequence.held
            place = self._cache.hold(sequence.row, start + 1)
            some = made[start - prompt :][: min(rows, place.pool.width - start)]
            logits = self._decoder.replay(some, start, place, rows)
            sequence.held += len(some)
            self.counters.prefill_tokens += len(some)
            if sequence.held >= bound:
                return logits

    # decode

    def _decode(self) -> list[TokenEvent]:
        events: list[TokenEvent] = []
        places: dict[int, Place] = {}
        for sequence in [s for s in self.rows if s is not None and s.entered]:
            place = _unless_short(lambda sequence=sequence: self._cache.hold(sequence.row, sequence.length))
            if place is None:
                events += self._give_way(sequence)
            else:
                places[sequence.row] = place
        ready = [s for s in self.rows if s is not None and s.row in places]
        if not ready:
            return events
        logits = _unless_short(lambda: self._logits(ready, places))
        if logits is None:
            # the step itself found no memory: the longest row makes room, the others go on in the next step
            return [*events, *self._give_way(max(ready, key=lambda s: s.length))]
        self.counters.rows_in_steps[len(ready)] += 1
        for sequence in ready:
            sequence.held += 1
            events.append(self._take(sequence, logits[sequence.row]))
        return events

    def _logits(self, ready: list[Sequence], places: dict[int, Place]) -> Tensor:
        """Logits by row, each row's last token fed in."""
        extent = max(s.row for s in ready) + 1 if self._extents_equal else len(self.rows)
        ids, lengths = [0] * extent, [0] * extent
        for sequence in ready:
            ids[sequence.row], lengths[sequence.row] = sequence.made[-1], sequence.held
        where = [places.get(row) for row in range(extent)]
        return self._decoder.decode(ids, lengths, where, whole=not self._extents_equal)

    # what becomes of a token

    def _take(self, sequence: Sequence, logits: Tensor) -> TokenEvent:
        sampling, position = sequence.request.sampling, len(sequence.made)
        token = self._forced(sequence, position)
        if token is None:
            token = sample(
                logits,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                seed=sampling.seed,
                position=position,
            )
        if token in sequence.stop:
            return self.leave(sequence, "stop")
        sequence.made.append(token)
        if sampling.logprobs:
            sequence.logprobs.append(float(logits.float().log_softmax(-1)[token]))
        self.counters.tokens += 1
        end = self._end(sequence)
        return sequence.event(None) if end is None else self.leave(sequence, end)

    def _forced(self, sequence: Sequence, position: int) -> int | None:
        """The closing tag, token by token, once the thinking budget is spent. A function of the tokens alone."""
        budget, closing = sequence.request.sampling.thinking_budget, sequence.closing
        if budget is None or not budget <= position < budget + len(closing):
            return None
        if sequence.thinking is None:
            sequence.thinking = not self._closes(sequence.made[:budget])
        return closing[position - budget] if sequence.thinking else None

    def _end(self, sequence: Sequence) -> Finish | None:
        sampling = sequence.request.sampling
        if len(sequence.made) >= sampling.max_new_tokens or sequence.length >= self._cache.widths[-1]:
            return "length"
        circles = sampling.watch and (repeats(sequence.made) or sequence.paragraphs.loops(sequence.made))
        return "repetition" if circles else None


def _common_chunks(prompt: tuple[int, ...], held: tuple[int, ...]) -> int:
    """How many tokens both begin with, in whole chunks; the last chunk of ``prompt`` is never among them, for its
    logits are needed."""
    common = 0
    while (end := common + PREFILL_CHUNK) < len(prompt) and prompt[common:end] == held[common:end]:
        common = end
    return common


def _unless_short(work: Callable[[], _T]) -> _T | None:
    """What ``work`` gives; ``None`` where there was no memory for it."""
    try:
        return work()
    except Exception as error:
        if not is_memory_error(error):
            raise
        return None


def is_memory_error(error: Exception) -> bool:
    """Whether the device or the machine had no memory: torch says so in three ways."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)
