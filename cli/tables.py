"""Draws a reply as people see it: the answer, its citations, the table of its steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cli.console import plain
from dialogue.steps import Citation
from dialogue.turn import Reply, StepRecord

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

__all__ = ["MARGIN", "citation_line", "duration", "reply_view", "rows", "said", "steps_table"]

MARGIN = 8
"""Cells before every text, where the speaker's name stands."""


def duration(milliseconds: float) -> str:
    """``4 ms``, ``1.9 s``, ``2 min 5 s``."""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def citation_line(citation: Citation) -> str:
    """``[1] Title § Section (en/returns.md:412-498)``; offsets are characters of the document."""
    title = f"{citation.title} § {citation.section}" if citation.section else citation.title
    return plain(f"[{citation.number}] {title} ({citation.document}:{citation.start}-{citation.end})")


def rows(header: Sequence[str], lines: Iterable[Sequence[str | Text]], *, right: Sequence[int] = ()) -> Table:
    """A table without rules whose last column takes what is left and wraps. ``right``: columns set to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=any(header))
    for place, name in enumerate(header):
        last = place == len(header) - 1
        table.add_column(
            name,
            justify="right" if place in right else "left",
            no_wrap=not last,
            overflow="fold" if last else "ellipsis",
        )
    for line in lines:
        table.add_row(*(Text(plain(cell)) if isinstance(cell, str) else cell for cell in line))
    return table


def steps_table(steps: Sequence[StepRecord]) -> Table:
    """One line a step, in the order in which they ran; a step that was not needed says why."""
    return rows(
        ("step", "pool", "try.attempt", "time", "result"),
        [_step_line(step) for step in steps],
        right=(2, 3),
    )


def _step_line(step: StepRecord) -> tuple[str, ...]:
    if step.skipped:
        return step.step, "—", "", "", step.result
    return step.step, step.pool or "", f"{step.try_number}.{step.attempt}", duration(step.milliseconds), step.result


def said(who: str, text: str, *, style: str = "bold") -> Table:
    """``you     How long …``, with the text's later lines below its first."""
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(padding=0)
    line.add_column(width=MARGIN, no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(Text(who, style=style), Text(plain(text)))
    return line


def reply_view(reply: Reply, *, trace: str = "", steps: bool = True, answer: bool = True) -> RenderableType:
    """The answer, its citations, the table of steps, what was noted, and the ``trace`` URL, where given."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    from workflows.wording import review_command

    parts: list[RenderableType] = [said("parley", reply.answer)] if answer else []
    parts += [Padding(Text(citation_line(each), overflow="fold"), (0, 0, 0, MARGIN)) for each in reply.citations]
    if steps:
        parts.append(Padding(steps_table(reply.steps), (0, 0, 0, 2)))
    if reply.state == "waiting":
        show = review_command("show", reply.conversation, reply.turn, reply.tenant)
        parts.append(Padding(Text(f"waits for a person: {show}"), (0, 0, 0, 2)))
    if trace:
        # folded on a narrow screen, it still opens whole where the terminal knows links
        link = Text.assemble("trace  ", (trace, f"link {trace}"), overflow="fold")
        parts.append(Padding(link, (0, 0, 0, 2)))
    return Group(*parts)
