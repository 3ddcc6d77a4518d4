"""The tier *token-exact*: the recorded generation once more, on the recorded weights; the same token ids or not.

What the engine cannot promise is said beforehand (:func:`promise`), and a difference is then named with its likely
cause. Where an attempt took over another's tokens, the rerun takes them over at the same place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from dialogue.base import Value
from dialogue.faults import ContentMissing, ParleyFault
from model_runtime.engine_identity import engine_differences
from model_runtime.protocol import Engine, EngineDescription, GenerationRequest
from model_runtime.tokenizer import Tokenizer
from replay.exact import State
from replay.try_record import RecordedCandidate, TryRecord

__all__ = ["TokenExact", "promise", "token_exact"]

_CONTEXT, _AFTER = 12, 8
_ENDS_BY_ITSELF = ("stop", "length", "repetition")


class TokenExact(Value):
    """One candidate of one try. ``same`` of ``tokens`` are the same before the first difference at index ``same``;
    the two texts are what stands around there. ``unpromised``: why the engine could not promise it."""

    turn: int
    try_number: int
    candidate: int = 0
    state: State
    tokens: int = 0
    same: int = 0
    resumed_at: int = 0
    recorded: str = ""
    today: str = ""
    unpromised: tuple[str, ...] = ()
    why: str = ""


def promise(record: TryRecord, today: EngineDescription) -> tuple[str, ...]:
    """Why the same tokens cannot be promised; nothing where they can: the same weights, code, shape and hardware."""
    recorded = record.engine
    if recorded.get("model_digest") != today.model_digest:
        was = str(recorded.get("model_digest"))[:12]
        return (f"the weights are others: {was}… recorded, {today.model_digest[:12]}… today",)
    reasons: list[str] = []
    if today.mode == "remote" or recorded.get("mode") == "remote":
        reasons.append("a server that others run computes, and says little of itself")
    if "text" in (today.token_ids, recorded.get("token_ids")):
        reasons.append("the token ids were made from text")
    return (*reasons, *engine_differences(recorded, today))


async def token_exact(
    engine: Engine, tokenizer: Tokenizer, record: TryRecord, *, turn: int, try_number: int
) -> list[TokenExact]:
    """Each candidate, one after the other. What the engine itself raises is a result: it could not be checked."""
    told: dict[str, Any] = {"turn": turn, "try_number": try_number}
    digest = hashlib.sha256(json.dumps(list(record.prompt_ids)).encode()).hexdigest()
    if record.prompt_digest and record.prompt_digest != digest:
        why = "the record's prompt is not the one that it names: the record was changed"
        return [TokenExact(**told, state="unchecked", why=why)]
    unpromised = promise(record, await engine.describe())
    found: list[TokenExact] = []
    for index, candidate in enumerate(record.candidates):
        more = {**told, "candidate": index, "resumed_at": candidate.resumed_at, "unpromised": unpromised}
        tokens = len(candidate.output_ids)
        try:
            made = await _again(engine, record, candidate, name=f"replay/{turn}/{try_number}/{index}")
        except ParleyFault as fault:
            found.append(TokenExact(**more, state="unchecked", tokens=tokens, why=fault.message))
            continue
        found.append(_compared(more, candidate.output_ids, made, tokenizer))
    if not found:
        raise ContentMissing(f"record: the record of try {try_number} of turn {turn} holds no candidate.")
    return found


def _boundaries(record: TryRecord, candidate: RecordedCandidate) -> list[int]:
    """Where an attempt began: at 0, and where it took over what those before had made."""
    points = {0, candidate.resumed_at}
    if len(record.candidates) == 1:
        points |= set(record.resume_points)
    return sorted(point for point in points if point < len(candidate.output_ids) or point == 0)


async def _again(engine: Engine, record: TryRecord, candidate: RecordedCandidate, *, name: str) -> tuple[int, ...]:
    """The tokens as they come today; up to the first part that differs."""
    recorded = candidate.output_ids
    starts = _boundaries(record, candidate)
    made: tuple[int, ...] = ()
    for number, start in enumerate(starts):
        last = number == len(starts) - 1
        end = len(recorded) if last else starts[number + 1]
        by_itself = last and candidate.finish in _ENDS_BY_ITSELF
        request = GenerationRequest(
            id=f"{name}/{start}", prompt_ids=record.prompt_ids, prefix_ids=recorded[:start], sampling=candidate.how
        )
        part = await _part(engine, request, None if by_itself else end - start)
        made = (*recorded[:start], *part)
        if made[:end] != recorded[:end]:
            break
    return made


async def _part(engine: Engine, request: GenerationRequest, most: int | None) -> tuple[int, ...]:
    """All that comes, or the first ``most`` tokens where what ended the recorded answer was not the engine."""
    ids: list[int] = []
    async with contextlib.aclosing(engine.submit(request)) as events:  # type: ignore[type-var]
        async for event in events:
            ids += event.token_ids
            if most is not None and len(ids) >= most:
                return tuple(ids[:most])
    return tuple(ids)


def _compared(
    more: dict[str, object], recorded: Sequence[int], today: Sequence[int], tokenizer: Tokenizer
) -> TokenExact:
    same = next(
        (index for index, (a, b) in enumerate(zip(recorded, today, strict=False)) if a != b),
        min(len(recorded), len(today)),
    )
    if same == len(recorded) == len(today):
        return TokenExact.model_validate({**more, "state": "same", "tokens": len(recorded), "same": same})

    def around(ids: Sequence[int]) -> str:
        before = tokenizer.decode(ids[max(0, same - _CONTEXT) : same], skip_special=False)
        after = tokenizer.decode(ids[same : same + _AFTER], skip_special=False)
        return f"{before}⟦{after or 'the end'}⟧"

    told = {"recorded": around(recorded), "today": around(today)}
    return TokenExact.model_validate({**more, **told, "state": "differs", "tokens": len(recorded), "same": same})
