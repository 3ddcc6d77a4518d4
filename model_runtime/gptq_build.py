"""Runs gptqmodel over a checkpoint: ``PYTHON gptq_build.py``, in an environment of its own (see ``gptq_driver``).

It imports nothing of Parley, for that environment has it not. One JSON object comes on standard input: ``source``,
``target`` (folders), ``bits``, ``group``, ``samples`` (lists of token ids). JSON lines go to standard output:
``{"text", "share"}`` on the way; at the end ``{"made": {"gptqmodel": VERSION}}``, or ``{"failed", "type"}``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    # this file's folder comes first on the path, and its modules would stand in for those of other packages
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != Path(__file__).resolve().parent]
    job = json.loads(sys.stdin.readline())
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no line of ours

    def tell(line: dict[str, Any]) -> None:
        lines.write(json.dumps(line) + "\n")
        lines.flush()

    try:
        tell({"text": "importing gptqmodel", "share": 0.0})
        import gptqmodel  # pyright: ignore[reportMissingImports]
    except Exception as error:  # of whatever its own imports raise
        tell({"failed": repr(error), "type": "import"})
        return 1
    try:
        _quantize(gptqmodel, job, tell)
    except Exception as error:  # the parent tells it in one line; the log has all of it
        import traceback

        traceback.print_exc()
        tell({"failed": repr(error), "type": "quantize"})
        return 1
    tell({"made": {"gptqmodel": str(gptqmodel.__version__)}})
    return 0


def _quantize(gptqmodel: Any, job: dict[str, Any], tell: Any) -> None:
    tell({"text": "reading the weights", "share": 0.05})
    # a zero point for each group: our packing holds one anyway, and it loses less; v2 is the form that holds it exactly
    config = gptqmodel.QuantizeConfig(
        bits=job["bits"], group_size=job["group"], sym=False, desc_act=False, format="gptq_v2"
    )
    model = gptqmodel.GPTQModel.load(job["source"], config)
    tell({"text": f"quantizing by GPTQ with {len(job['samples'])} samples", "share": 0.1})
    samples = [{"input_ids": sample, "attention_mask": [1] * len(sample)} for sample in job["samples"]]
    model.quantize(samples, batch_size=1)
    tell({"text": "writing the checkpoint", "share": 0.95})
    model.save(job["target"])


if __name__ == "__main__":
    sys.exit(main())
