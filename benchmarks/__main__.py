"""``python -m benchmarks [NAME …] [--json FILE] [--quick]``: runs them and shows a table each."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import facts
from cli.ending import end

NAMES = (
    "engine",
    "invariance",
    "prefix",
    "start",
    "turn",
    "long",
    "open",
    "replay",
    "cancel",
    "cancel_ways",
    "gate",
    "rpc_bytes",
    "protection",
)
# By name: a device of its own; servers of others; minutes of all cores.
ALONE = ("gpu", "peers", "load", "streams", "token_exact")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast, against a baseline.")
    told = f"{', '.join(NAMES)}; all where none is given; by name alone: {', '.join(ALONE)}"
    parser.add_argument("names", nargs="*", metavar="NAME", help=told)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to this file")
    parser.add_argument("--quick", action="store_true", help="few and short: that it runs, not how fast it is")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in (*NAMES, *ALONE)]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}; there are {', '.join((*NAMES, *ALONE))}")
    console = Console(width=None if sys.stdout.isatty() else 100)
    report: dict[str, Any] = {"quick": given.quick, "machine": facts.machine(), "versions": facts.versions()}
    report["results"] = {}
    for name in given.names or NAMES:
        benchmark = importlib.import_module(f"benchmarks.{name}")
        report["results"][name] = result = asyncio.run(benchmark.run(quick=given.quick))
        console.print(benchmark.table(result))
    console.print(_under(report), style="dim", highlight=False)
    if given.json:
        given.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return 0


def _under(report: dict[str, Any]) -> str:
    machine = report["machine"]
    versions = " · ".join(f"{name} {version}" for name, version in report["versions"].items())
    where = f"{machine['processor']} · {machine['cores']} cores · load before {machine['load_before']}"
    quick = " · quick: these figures mean nothing" if report["quick"] else ""
    return f"{where}{quick}\n{versions}"


if __name__ == "__main__":
    end(main(sys.argv[1:]))
