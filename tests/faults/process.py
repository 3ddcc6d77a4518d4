"""``python -m tests.faults.process worker POOL``: the command line of the product, with stops in its steps."""

from __future__ import annotations

from cli.main import main
from tests.faults.stops import install

if __name__ == "__main__":
    install()
    main()
