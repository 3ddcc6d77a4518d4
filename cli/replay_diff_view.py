"""Draws two turns side by side: the steps, and for each that differs its fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cli.console import plain
from replay.commands import shorten
from replay.diff import spans

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from replay.diff import FieldDiff, StepDiff, TurnDiff

__all__ = ["diff_view"]

_LONG = 60
_MOST = 12
_NOTHING = "(nothing)"


def diff_view(found: TurnDiff, a: str, b: str) -> RenderableType:
    """Steps that are the same take a line each; of the others each field that differs."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(plain(f"a  {a}\nb  {b}"))]
    for step in found.steps:
        parts.append(Text(f"{'=' if step.same else '≠'} {step.activity} {step.try_number}{_where(step)}"))
        parts += list(_fields(step.fields))
    if found.outcome:
        parts.append(Text("≠ the outcome"))
        parts += list(_fields(found.outcome))
    parts.append(Text("the same" if found.same else "they differ"))
    return Group(*parts)


def _where(step: StepDiff) -> str:
    return f"  only in {step.only}" if step.only else ""


def _fields(fields: tuple[FieldDiff, ...]) -> Iterator[Text]:
    from rich.text import Text

    for each in fields[:_MOST]:
        line = Text(f"    {each.path}  ", overflow="fold")
        line.append_text(_change(each.a, each.b))
        yield line
    if len(fields) > _MOST:
        yield Text(f"    and {len(fields) - _MOST} fields more: --json")


def _change(a: Any, b: Any) -> Text:
    """Long texts word by word, other values as ``a → b``; readable without colour."""
    from rich.text import Text

    if not (isinstance(a, str) and isinstance(b, str) and max(len(a), len(b)) > _LONG):
        return Text(plain(f"{shorten(a) or _NOTHING} → {shorten(b) or _NOTHING}"))
    styles = {"same": "", "removed": "red", "added": "green"}
    marks = {"same": "{}", "removed": "[-{}-]", "added": "{{+{}+}}"}
    return Text.assemble(*((plain(marks[kind].format(text)), styles[kind]) for kind, text in spans(a, b)))
