"""``python -m tests.faults.process DESK MADE worker POOL``: the command line of the product, with stops in its steps of
which the driver at the socket ``DESK`` hears, and with a count of what its engines make in the file ``MADE``."""

from __future__ import annotations

import os
import sys

from cli.main import main
from tests.faults import made, stops

if __name__ == "__main__":
    command, desk, file, *rest = sys.argv
    os.environ |= {stops.DESK: desk, made.MADE: file}
    sys.argv = [command, *rest]
    stops.install()
    made.install()
    main()
