"""``python -m evals [NAME …]``: every evaluation, each in a process of its own, so that memory is given back.

Options of a single one (``--json``, ``--fit`` …) belong to its own command: ``python evals/retrieval.py --help``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from evals.intents import CLINC
from evals.retrieval import XQUAD

FOLDER = Path(__file__).resolve().parent
DATA: Mapping[str, tuple[str, tuple[Path, ...]]] = {
    "intents": ("CLINC150", (CLINC,)),
    "retrieval": ("XQuAD", (XQUAD / "xquad.en.json", XQUAD / "xquad.zh.json")),
}
"""By evaluation: the public data that it reads."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m evals", description="How good, on public and own data.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(DATA)}; all where none is given")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in DATA]
    if unknown:
        parser.error(f"there is no evaluation {unknown[0]}; there are {', '.join(DATA)}")
    names = given.names or list(DATA)
    for line in absent(names):
        print(line, flush=True)
    failed = [name for name in names if not _run(name)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def absent(names: Sequence[str], data: Mapping[str, tuple[str, tuple[Path, ...]]] = DATA) -> list[str]:
    """A line for each file that is not there, saying what is measured all the same."""
    return [
        f"{name}: {title} is left out, there is no {file}; the help centre's own examples are measured"
        for name in names
        for title, files in [data[name]]
        for file in files
        if not file.is_file()
    ]


def _run(name: str) -> bool:
    print(f"\n== {name} ==", flush=True)
    return subprocess.run([sys.executable, str(FOLDER / f"{name}.py")], check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
