"""``python -m tests.faults.limited BYTES COMMAND…``: ``parley COMMAND…`` where no file may grow beyond BYTES.

-1: they may. It ends as the command does.
"""

from __future__ import annotations

import resource
import sys

if __name__ == "__main__":
    most = int(sys.argv[1])
    if most >= 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    from cli.main import main

    sys.argv[1:] = sys.argv[2:]
    main()
