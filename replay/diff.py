"""Two turns, step by step: what is the same, what differs, and how two texts differ word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Literal

from dialogue.base import Value
from replay.commands import NOT_THERE, differing
from replay.turns import Turn, TurnStep

__all__ = ["FieldDiff", "StepDiff", "TurnDiff", "compare", "marked", "spans"]

_OF_THE_RUN = re.compile(
    r"(?:input\.)?(?:turn\b|done\b|attempts|seconds|first_token_seconds|record$|resumed_at|audit_|receipt|returned_at|received_at|said_at"
    r"|message_id|caller|user$|address|masked|question_digest|plan\.(?:steps|priority|other_models|texts|ladder|review)"
    r"|plan\.model\.task_queue|candidates\[\d+\]\.(?!answer|reasoning$|finish_reason))"
)
"""Fields that say where, when and how long, and not what."""

_WORDS = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|\w+|\s+|[^\w\s]")


class FieldDiff(Value):
    """A field by its dotted path; ``input.`` before it where it went into the step."""

    path: str
    a: Any = None
    b: Any = None


class StepDiff(Value):
    """``only``: the step is in one of the two turns alone."""

    step: str
    activity: str
    try_number: int
    only: Literal["", "a", "b"] = ""
    fields: tuple[FieldDiff, ...] = ()

    @property
    def same(self) -> bool:
        return not self.only and not self.fields


class TurnDiff(Value):
    """``outcome``: what whoever asked was given, where it differs (verdict, answer, note)."""

    steps: tuple[StepDiff, ...]
    outcome: tuple[FieldDiff, ...] = ()

    @property
    def same(self) -> bool:
        return not self.outcome and all(step.same for step in self.steps)

    @property
    def first(self) -> StepDiff | None:
        """The first step that differs."""
        return next((step for step in self.steps if not step.same), None)


def compare(a: Turn, b: Turn) -> TurnDiff:
    """Steps are paired by activity and try."""
    theirs = {(step.activity, step.try_number): step for step in b.steps}
    steps = [_pair(step, theirs.pop((step.activity, step.try_number), None)) for step in a.steps]
    steps += [_only(step, "b") for step in theirs.values()]
    outcome = [
        FieldDiff(path=name, a=getattr(a, name), b=getattr(b, name))
        for name in ("verdict", "answer", "note")
        if getattr(a, name) != getattr(b, name)
    ]
    return TurnDiff(steps=tuple(steps), outcome=tuple(outcome))


def _pair(a: TurnStep, b: TurnStep | None) -> StepDiff:
    if b is None:
        return _only(a, "a")
    found = [FieldDiff(path=path, a=was, b=now) for path, was, now in _differing(a, b)]
    return StepDiff(step=a.step, activity=a.activity, try_number=a.try_number, fields=tuple(found))


def _differing(a: TurnStep, b: TurnStep) -> Iterator[tuple[str, Any, Any]]:
    if a.state != b.state:
        yield "state", a.state, b.state
    if a.failure != b.failure:
        yield "failure", a.failure, b.failure
    for prefix, first, second in (("input.", a.input, b.input), ("", a.result, b.result)):
        if first is None or second is None:
            continue
        for path, was, now in differing(first, second):
            whole = f"{prefix}{path}"
            one_version_alone = NOT_THERE in (was, now)
            if not one_version_alone and not _OF_THE_RUN.match(whole):
                yield whole, was, now


def _only(step: TurnStep, where: Literal["a", "b"]) -> StepDiff:
    return StepDiff(step=step.step, activity=step.activity, try_number=step.try_number, only=where)


def spans(a: str, b: str) -> list[tuple[Literal["same", "removed", "added"], str]]:
    """The two texts as one, word by word (Chinese character by character): what stayed, went and came."""
    first, second = _WORDS.findall(a), _WORDS.findall(b)
    found: list[tuple[Literal["same", "removed", "added"], str]] = []

    def add(kind: Literal["same", "removed", "added"], words: Sequence[str]) -> None:
        if words:
            found.append((kind, "".join(words)))

    for operation, i, j, k, m in SequenceMatcher(a=first, b=second, autojunk=False).get_opcodes():
        if operation == "equal":
            add("same", first[i:j])
        else:
            add("removed", first[i:j])
            add("added", second[k:m])
    return found


def marked(a: str, b: str) -> str:
    """``within 24 hours of the [-report-]{+call+}``: readable without colour."""
    marks = {"same": "{}", "removed": "[-{}-]", "added": "{{+{}+}}"}
    return "".join(marks[kind].format(text) for kind, text in spans(a, b))
