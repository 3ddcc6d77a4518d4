"""Draws a turn that waits for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cli.console import plain
from cli.tables import citation_line, said

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gateway.wire import Draft, Review

__all__ = ["review_view"]


def review_view(review: Review) -> RenderableType:
    """What was asked, with its files, what would be answered, why a person has to decide, and how."""
    from rich.console import Group

    return Group(*_parts(review))


def _parts(review: Review) -> Iterator[RenderableType]:
    from workflows.wording import review_command

    yield _line(f"conversation {review.conversation}  turn {review.turn}  {review.language}")
    yield said("asked", review.question)
    for number, file in enumerate(review.files, 1):
        yield _line(f"  file {number} of {len(review.files)}  {file.name}  {len(file.text)} characters")
        yield said("", file.text)
    if review.draft is None:
        yield _line("  There is no draft: the intent asks for a person. Answer with --edit.")
    else:
        yield from _draft(review.draft)
    decide = review_command("resolve", review.conversation, review.turn, review.tenant, "--by NAME HOW")
    yield _line(f"  decide  {decide}")
    yield _line("          HOW: --approve | --edit TEXT | --reject")


def _draft(draft: Draft) -> Iterator[RenderableType]:
    yield said("draft", draft.answer)
    for citation in draft.citations:
        yield _line(f"        {citation_line(citation)}")
    for finding in draft.findings:
        yield _line(f"  {finding.rule}  {finding.label}  {finding.start}-{finding.end}  {finding.action}")
    if draft.reason:
        yield _line(f"  why  {draft.reason}")


def _line(text: str) -> RenderableType:
    from rich.text import Text

    return Text(plain(text), overflow="fold")
