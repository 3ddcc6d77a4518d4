"""The pages of the documentation, taken apart: headings, links, fenced blocks and the commands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGES", "ROOT", "Block", "Command", "blocks", "commands", "counterpart", "headings", "links", "slug"]

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("README*.md"),
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        ROOT / "examples" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>[\w-]*)\s*$")
_NOT_RUN = re.compile(r"^<!-- not run: (?P<why>.+) -->$")
_LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\((?P<target>[^)\s]+)\)|<img[^>]+src=\"(?P<image>[^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block. ``line`` is the fence's; ``not_run`` the reason in the comment right above it, if any."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str


@dataclass(frozen=True)
class Command:
    """What stands after ``$``, its continuation lines joined."""

    page: Path
    line: int
    text: str
    not_run: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}: {self.text}"


def blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text("utf-8").splitlines()
    place = 0
    while place < len(lines):
        fence = _FENCE.match(lines[place])
        if fence is None:
            place += 1
            continue
        end = next(
            (n for n in range(place + 1, len(lines)) if lines[n].strip() == fence["ticks"]),
            None,
        )
        assert end is not None, f"{page}:{place + 1}: the block is never closed"
        above = next((lines[n] for n in range(place - 1, -1, -1) if lines[n].strip()), "")
        marked = _NOT_RUN.match(above)
        indent = len(fence["indent"])
        text = "\n".join(line[indent:] for line in lines[place + 1 : end])
        yield Block(page, place + 1, fence["language"], text, marked["why"] if marked else "")
        place = end + 1


def commands(page: Path) -> Iterator[Command]:
    for block in blocks(page):
        if block.language != "console":
            continue
        waiting = ""
        for number, line in enumerate(block.text.splitlines(), block.line + 1):
            if not waiting and not line.startswith("$ "):
                continue
            waiting += line.removeprefix("$ ") if not waiting else " " + line.strip()
            if waiting.endswith("\\"):
                waiting = waiting[:-1].rstrip()
                continue
            yield Command(page, number, waiting, block.not_run)
            waiting = ""


def _prose(page: Path) -> str:
    """The page without its fenced blocks and code spans."""
    text, inside = [], False
    for line in page.read_text("utf-8").splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            text.append(line)
    return re.sub(r"`[^`\n]*`", "``", "\n".join(text))


def headings(page: Path) -> list[str]:
    """With their ``#`` marks, in order."""
    found, inside = [], False
    for line in page.read_text("utf-8").splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside and re.match(r"#{1,6} ", line):
            found.append(line)
    return found


def slug(heading: str) -> str:
    """The anchor that Markdown renderers make of a heading."""
    text = heading.lstrip("#").strip().lower().replace("`", "")
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def links(page: Path) -> list[str]:
    return [found["target"] or found["image"] for found in _LINK.finditer(_prose(page))]


def counterpart(page: Path) -> Path | None:
    """The English page of a Chinese one; ``None`` for an English page."""
    chinese = ROOT / "docs" / "zh-CN"
    if page.is_relative_to(chinese):
        return chinese.parent / page.relative_to(chinese)
    if page.name.endswith(".zh-CN.md"):
        return page.with_name(page.name.replace(".zh-CN.md", ".md"))
    return None
