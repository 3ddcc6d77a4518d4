"""What an engine is: token ids in, a stream of token events out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = [
    "Capacity",
    "Engine",
    "EngineDescription",
    "Finish",
    "GenerationRequest",
    "Sampling",
    "TokenEvent",
]

Finish = Literal["stop", "length", "repetition", "cancelled", "out_of_memory"]
"""Why an answer ended: it said so, it reached its bound or the widest row, it went in circles, it was
cancelled, or there was no memory to go on."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. ``temperature`` 0 is greedy; ``seed`` and a token's position decide its draw alone.

    ``thinking_budget``: if reasoning is not closed after so many tokens, ``end_of_thinking_ids`` are put in its
    place (empty: what the model's tokenizer makes of ``</think>`` and a blank line). ``watch`` ends an answer
    that goes in circles. ``logprobs`` asks how likely each token was.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    max_new_tokens: int = 160
    stop_token_ids: tuple[int, ...] = ()
    thinking_budget: int | None = None
    end_of_thinking_ids: tuple[int, ...] = ()
    watch: bool = True
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One sequence. ``prefix_ids`` are tokens of the answer that an earlier attempt already made. ``traceparent`` (W3C)
    goes on to a server that computes for us; empty: it belongs to no trace."""

    id: str
    prompt_ids: tuple[int, ...]
    prefix_ids: tuple[int, ...] = ()
    sampling: Sampling = Sampling()
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """New tokens of one answer. ``start`` is the index of the first of them within the answer, so that a log can
    be appended to at exactly that place. The stop token itself is never among them. The last event of an answer
    has a ``finish`` and may hold no token. ``reused``: how many of the prompt's tokens were not taken in anew, because
    the cache held them for another answer. ``logprobs``, where they were asked for: of each token the natural logarithm
    of its probability as the model has it, before temperature and top_p; ``None`` where nobody tells."""

    id: str
    start: int
    token_ids: tuple[int, ...]
    finish: Finish | None = None
    reused: int = 0
    logprobs: tuple[float | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """Room at this moment. ``rows_limit`` is how many rows may be in use for now, fewer than ``rows`` after memory ran
    short. ``longest_width`` bounds prompt and answer together, in tokens; ``free_bytes`` is what the key-value cache
    may still take, 0 where it is another's; ``waiting`` are requests without a row."""

    rows: int
    rows_busy: int
    rows_limit: int
    longest_width: int
    free_bytes: int
    waiting: int


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """What exactly computes. ``engine_digest`` covers all that may change a token (``engine_identity``): weights,
    quantization, kernels (libraries and what they run on), mode, rows, widths, dtype, device and threads; of a server
    that others run (``remote``), what it says of itself. ``options`` hold what an engine of one kind has besides.
    ``token_ids`` of kind ``text`` were made from the text that such a server gave, by the tokenizer here: they read the
    same, and need not be those that were drawn."""

    engine: str
    model: str
    model_digest: str
    engine_digest: str
    mode: Literal["eager", "compiled", "remote"]
    rows: int
    widths: tuple[int, ...]
    dtype: str
    quantization: str
    device: str
    threads: int
    context: int
    languages: tuple[str, ...]
    reasoning: str
    eos_token_ids: tuple[int, ...]
    vocabulary: int
    weight_bytes: int
    token_ids: Literal["drawn", "text"] = "drawn"  # noqa: S105 tokens, no password
    kernels: str = ""
    options: dict[str, Any] = field(default_factory=dict[str, Any])


class Engine(Protocol):
    """Runs sequences that join and leave the batch at any step. All methods may be called from one event loop."""

    async def start(self) -> None:
        """Loads and warms up. May be called again after :meth:`close`, or after the engine was lost.

        Raises :class:`~dialogue.faults.ModelMissing`, :class:`~dialogue.faults.ModelCorrupt` or
        :class:`~dialogue.faults.EngineLost`.
        """
        ...

    def submit(self, request: GenerationRequest) -> AsyncGenerator[TokenEvent, None]:
        """The events of one answer, in order; the last one has a ``finish``.

        Closing the generator early (``contextlib.aclosing``) cancels: left open, its row stays busy.

        Several candidates are several submits. Raises, at the first event asked for,
        :class:`~dialogue.faults.InvalidRequest` for a value that cannot be used or an id that runs already (see
        ``admission``), :class:`~dialogue.faults.PromptTooLong` when the prompt leaves no room in the widest row, and
        :class:`~dialogue.faults.OutOfMemory` when too many requests wait already; later
        :class:`~dialogue.faults.EngineLost` or :class:`~dialogue.faults.EngineHung`, and where a server computes
        also :class:`~dialogue.faults.EngineBusy`. A loss whose details say ``alone`` is that of one stream.
        """
        ...

    async def cancel(self, request_id: str) -> None:
        """Ends that answer with ``cancelled`` and frees its row; an unknown id is nothing to do."""
        ...

    async def capacity(self) -> Capacity: ...

    async def describe(self) -> EngineDescription: ...

    async def stats(self) -> dict[str, Any]:
        """Counters since the start: ``steps``, ``max_rows_in_a_step``, ``rows_in_steps`` (how many steps had how
        many rows), ``tokens``, ``prefill_tokens``, ``requests``, ``finished`` by reason, ``cancelled``, ``put_back``
        (how often a sequence gave its row back for want of memory), ``rows_limit``."""
        ...

    async def close(self) -> None:
        """Ends everything that runs. A process of the engine's own is gone when this returns."""
        ...
