"""``parley config``: is ``temporal.yaml`` right, what holds, what may stand in it."""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import cyclopts

from cli.ending import UNUSABLE
from cli.options import Json

if TYPE_CHECKING:
    from settings.origins import Problem
    from settings.schema import Settings

__all__ = ["app"]

app = cyclopts.App(name="config", help="Check, show and describe temporal.yaml.")


@app.command
def check(*, json: Json = False) -> int:
    """Check everything: keys, values, pairs, policies with their word lists, files that are named.

    Exit code 0 when all is right, 2 when not; each problem is one line with its place and the way out. What is
    allowed and not advised is a warning.
    """
    from dialogue.faults import ParleyFault
    from settings.advice import advice
    from settings.load import fault_of, load

    try:
        settings = load()
        if problems := list(_problems(settings)):
            raise fault_of(problems, settings.origins)
        _check_contents(settings)
    except ParleyFault as fault:
        lines = fault.message.splitlines()
        if json:
            print(json_text.dumps({"ok": False, "problems": lines, "warnings": []}, ensure_ascii=False, indent=2))
        else:
            print("\n".join(lines), file=sys.stderr)
        return UNUSABLE
    advised = list(advice(settings))
    warnings = fault_of(advised, settings.origins).message.splitlines() if advised else []
    if json:
        told = {"ok": True, "problems": [], "warnings": warnings}
        print(json_text.dumps(told, ensure_ascii=False, indent=2))
    else:
        for line in warnings:
            print(f"warning: {line}", file=sys.stderr)
        print(f"{settings.origins.file}: everything is right.")
    return 0


@app.command
def show(*, json: Json = False) -> None:
    """Print the effective settings, each with where it comes from. Passwords are masked."""
    from settings.load import load
    from settings.show import as_json, as_yaml

    settings = load()
    print(json_text.dumps(as_json(settings), ensure_ascii=False, indent=2) if json else as_yaml(settings), end="")
    if json:
        print()


@app.command
def schema() -> None:
    """Print the JSON Schema. With `parley config schema > temporal.schema.json` an editor completes the file."""
    from policy.rules import PolicyRules
    from settings.json_schema import json_schema

    print(json_text.dumps(json_schema(PolicyRules), ensure_ascii=False, indent=2))


def _problems(settings: Settings) -> Iterator[Problem]:
    from policy.rules import PolicyRules
    from settings.load import check_section
    from settings.origins import Problem
    from settings.references import missing

    for name, rules in settings.policies.items():
        place = ("policies", name)
        wrong = check_section(PolicyRules, rules, place)
        yield from wrong
        words = () if wrong else PolicyRules.model_validate(rules).words
        for index, path in enumerate(words):
            if not settings.resolve(path).exists():
                yield Problem((*place, "words", index), f"there is no {settings.resolve(path)}")
    yield from missing(settings)


def _check_contents(settings: Settings) -> None:
    """Reads the files that are small and written by hand. Raises PolicyFault and IntentsFault, naming the line."""
    from intents.intents_file import load as load_intents
    from policy.policy import Policy

    for rules in settings.policies.values():
        Policy.build(rules, settings.root)
    load_intents(settings.intents.file)
