"""How each documented command is run by the tests. A command that stands in no line here fails them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["WAYS", "How", "Way", "way_of"]

How = Literal["here", "help", "make", "collect", "site"]
"""``here``: as typed, in a folder with a knowledge base and without a server. ``help``: would never end, so its help
is asked for. ``make``: with ``-n``. ``collect``: pytest finds its tests. ``site``: as typed, against a running site.
"""


@dataclass(frozen=True)
class Way:
    """``pattern`` matches the whole command. ``codes``: the exit codes it may have; ``said``: what is typed into it."""

    pattern: str
    how: How
    codes: tuple[int, ...] = (0,)
    said: str = ""


WAYS = (
    # nothing but the files is needed
    Way(r"parley(?: \w+){0,2} --help", "here"),
    Way(r"parley version(?: --json)?", "here"),
    Way(r"parley config (?:check|show)(?: --json)?", "here"),
    Way(r"parley config schema > temporal\.schema\.json", "here"),
    Way(r"PARLEY_\w+=\S+ parley config (?:check|show)", "here"),
    Way(r"parley intents check(?: \S+)?", "here"),
    Way(r"parley kb (?:add|list|search|remove|gc)\b.*", "here"),
    Way(r"parley model (?:list|verify|gc)(?: --json)?", "here"),
    Way(r"parley model (?:show|promote|rollback) .+", "here", codes=(1,)),  # the registry there is empty
    Way(r"parley keys (?:create|list|token)\b.*", "here"),
    Way(r"parley keys revoke ID", "here", codes=(2,)),  # no key has that id
    Way(r"parley replay (?:verify|scan|to-test) .*tests/histories\b.*", "here"),
    Way(r"parley replay diff tests/histories/\S+ tests/histories/\S+", "here", codes=(3,)),  # they do differ
    Way(r"parley keys rotate(?: --rewrap-only)?", "here", codes=(2,)),  # nothing is encrypted there
    Way(r"parley keys identity", "here"),
    Way(r"parley keys quote \S+", "here", codes=(2,)),  # no root certificate is named there
    Way(r"parley audit verify(?: --tenant \S+)?(?: --json)?", "here"),
    Way(r"parley audit export .+", "here"),
    Way(r"parley audit forget \S+ --tenant default(?: --yes)?", "here", codes=(2,)),  # nothing is encrypted there
    Way(r"parley audit accept --tenant default(?: --yes)?", "here"),
    Way(r"parley audit receipt key", "here"),
    Way(r"parley audit receipt verify reply\.json .+", "here", codes=(1,)),  # there is no such file
    Way(r"parley doctor(?: --json)?", "here", codes=(0, 1)),  # 1: no server runs there
    Way(r"\.venv/bin/python -m settings\.explain --check", "here"),
    Way(r"\.venv/bin/python -m tests\.support\.record_histories --help", "here"),
    # would not end by themselves, or belong to what the tests are part of
    Way(r"parley (?:up|demo|gateway|codec|keys serve|prepare|worker \w+)", "help"),
    Way(r"\.venv/bin/python -m benchmarks \w+(?: --json \S+)?", "help"),
    Way(r"make [a-z-]+", "make"),
    Way(r"\.venv/bin/pytest .+", "collect"),
    # a running site is needed
    Way(r"parley ask .+", "site"),
    Way(r"parley chat(?: --conversation CONVERSATION)?(?: --tenant \w+)?", "site", said="Hello!\n/why\n/quit\n"),
    Way(r"parley transcript CONVERSATION(?: --json)?", "site"),
    Way(r"parley feedback CONVERSATION 1 --score .+", "site"),
    Way(r"parley cancel CONVERSATION", "site", codes=(2,)),  # nothing runs
    Way(r"parley reviews list(?: --json)?", "site"),
    Way(r"parley reviews (?:show|resolve) CONVERSATION 1.*", "site", codes=(2,)),  # nothing waits
    Way(r"parley replay (?:find|show|verify|scan) .+", "site"),
    Way(r"parley replay export CONVERSATION .+", "site"),
    # 3: another answer today; 4: of a conversation that was only made for a test no history is left
    Way(r"parley replay affected .+", "site", codes=(0, 3, 4)),
    Way(r"parley replay (?:diff|whatif) CONVERSATION.+", "site", codes=(0, 3)),  # 3: they differ, as a change may
    Way(r"temporal (?:workflow|operator|task-queue|schedule) .+", "site"),
    # 1: the site's workers have no version; tests/workflows/test_versions.py runs these where they have
    Way(r"temporal worker deployment .+", "site", codes=(1,)),
    Way(r"curl .+", "site"),
    Way(r"\.venv/bin/python examples/python_service/\w+\.py .+", "site"),
)


def way_of(command: str) -> Way | None:
    return next((way for way in WAYS if re.fullmatch(way.pattern, command)), None)
