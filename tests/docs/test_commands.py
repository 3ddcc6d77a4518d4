"""Every command that the documentation shows is one of ours, and does what the page says that it does: it runs."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.conftest import Folder, make_folder
from tests.docs.pages import PAGES, ROOT, Block, Command, blocks, commands, counterpart
from tests.docs.ways import Way, way_of

# A Chinese page holds its English one's commands (tests/docs/test_pages.py), so they are run once.
ENGLISH = [page for page in PAGES if counterpart(page) is None]

# The quick whole types what a newcomer types first, and what someone types who is in a hurry; `make test-full` types
# the rest, which starts a process a line, and on a site asks the model for minutes.
QUICK = {"README.md", "docs/incident-review.md", "docs/protection.md"}
QUICK_ON_A_SITE = {"README.md", "docs/web-socket.md"}


def _to_run(page: Path, *how: str) -> list[tuple[Command, Way]]:
    found = [(command, way_of(command.text)) for command in commands(page) if not command.not_run]
    return [(command, way) for command, way in found if way is not None and way.how in how]


def _programs(page: Path) -> list[Block]:
    """The Python blocks that are whole programs."""
    return [
        block
        for block in blocks(page)
        if block.language == "python" and not block.not_run and re.match(r"(?:import|from) ", block.text)
    ]


def _named(pages: list[Path], quick: set[str] | None = None) -> Any:
    """A test a page; where some are ``quick``, the others are run by `make test-full` alone."""

    def marks(name: str) -> tuple[pytest.MarkDecorator, ...]:
        return () if quick is None or name in quick else (pytest.mark.full,)

    names = [(page, str(page.relative_to(ROOT))) for page in pages]
    return pytest.mark.parametrize("page", [pytest.param(page, id=name, marks=marks(name)) for page, name in names])


@_named(PAGES)
def test_every_command_is_known(page: Path) -> None:
    """A command in no line of the table is either a mistake in the page or a line that the table lacks."""
    unknown = [str(command) for command in commands(page) if not command.not_run and way_of(command.text) is None]
    assert not unknown


@_named(PAGES)
def test_commands_stand_in_console_blocks(page: Path) -> None:
    """In a block of another name they would not be run."""
    shells = ("bash", "sh", "shell", "zsh", "shell-session")
    hidden = [
        f"{page}:{block.line}"
        for block in blocks(page)
        if block.language in shells
        or (block.language != "console" and re.search(r"^\$ |^(?:parley|curl|make) [a-z]", block.text, re.MULTILINE))
    ]
    assert not hidden


@_named([page for page in ENGLISH if _to_run(page, "here")], quick=QUICK)
def test_what_needs_no_server_runs(page: Path, folder: Folder) -> None:
    """In the order of the page, as typed."""
    for command, way in _to_run(page, "here"):
        ended = folder.type(command.text, said=way.said)
        assert ended.returncode in way.codes, f"{command}\n{ended.stdout}{ended.stderr}"
        assert "Traceback" not in ended.stderr, f"{command}\n{ended.stderr}"


@_named([page for page in ENGLISH if _to_run(page, "help", "make")])
def test_what_is_not_run_here_is_there(page: Path, tmp_path: Path) -> None:
    """A command that would not end has a help, a make target has a rule."""
    _is_there(tmp_path, page, "help", "make")


@pytest.mark.full
@_named([page for page in ENGLISH if _to_run(page, "collect")])
def test_what_is_named_is_collected(page: Path, tmp_path: Path) -> None:
    """A test that a page names is there."""
    _is_there(tmp_path, page, "collect")


def _is_there(tmp_path: Path, page: Path, *how: str) -> None:
    folder = make_folder(tmp_path / "site")
    for line in {_harmless(command.text, way) for command, way in _to_run(page, *how)}:
        ended = folder.type(f"cd {shlex.quote(str(ROOT))} && {line}")
        assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"


def _harmless(line: str, way: Way) -> str:
    if way.how == "help":
        return f"{line} --help"
    if way.how == "make":
        return line.replace("make ", "make -n ")
    return line.replace(
        ".venv/bin/pytest", f"{shlex.quote(sys.executable)} -m pytest --collect-only -p no:cacheprovider"
    )


@pytest.mark.e2e
@pytest.mark.xdist_group("site")
@pytest.mark.timeout(400)  # a page may ask the real model ten times
@_named([page for page in ENGLISH if _to_run(page, "site") or _programs(page)], quick=QUICK_ON_A_SITE)
async def test_what_needs_a_site_runs(page: Path, tmp_path: Path, demo_site: Any) -> None:
    """Commands and programs of a page, in its order, in one folder, against a site that answers."""
    bare = make_folder(tmp_path / "site")
    folder = Folder(
        bare.path,
        {
            **{name: value for name, value in bare.environment.items() if not name.startswith("PARLEY_")},
            **demo_site.environment,
            "PATH": bare.environment["PATH"],
            "PYTHONPATH": str(ROOT),
            "TEMPORAL_ADDRESS": demo_site.temporal_address,
        },
    )
    for number, (line, way) in enumerate(_in_order(page)):
        if way is None:
            program = folder.path / f"program_{number}.py"
            program.write_text(_at(demo_site, line), "utf-8")
            typed, said, codes = f"{shlex.quote(sys.executable)} {program.name}", "", (0,)
        else:
            typed, said, codes = _at(demo_site, line), way.said, way.codes
        # on a thread: the fixture goes on watching over its processes
        ended = await asyncio.to_thread(folder.type, typed, said=said)
        assert ended.returncode in codes, f"{line}\n{ended.stdout}{ended.stderr}"


def _in_order(page: Path) -> Iterator[tuple[str, Way | None]]:
    found: list[tuple[int, str, Way | None]] = [
        (command.line, command.text, way) for command, way in _to_run(page, "site")
    ]
    found += [(program.line, program.text, None) for program in _programs(page)]
    for _, text, way in sorted(found, key=lambda each: each[0]):
        yield text, way


def _at(demo_site: Any, text: str) -> str:
    """The documented default addresses and the word CONVERSATION, as this site has them."""
    gateway = demo_site.gateway_url.removeprefix("http://")
    text = re.sub(r"(?<=://)(?:127\.0\.0\.1|localhost):8088", gateway, text)
    text = re.sub(r"(?:127\.0\.0\.1|localhost):7233", demo_site.temporal_address, text)
    return text.replace("CONVERSATION", demo_site.conversation)
