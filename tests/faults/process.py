"""``python -m tests.faults.process worker POOL``: the command line of the product, with stops in its steps and with
a count of what its engines make."""

from __future__ import annotations

from cli.main import main
from tests.faults import made, stops

if __name__ == "__main__":
    stops.install()
    made.install()
    main()
