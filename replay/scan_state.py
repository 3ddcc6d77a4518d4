"""What a scan has done, a line of JSON for each history, so that it goes on where it was ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

from dialogue.faults import InvalidRequest
from replay.exact import HistoryExact

__all__ = ["ScanState"]

_BEGINS = b'{"key": '


class ScanState:
    """``known``: the results by key that ``code`` gave, but for what could not be checked. Without a file nothing is
    noted."""

    def __init__(
        self, known: dict[str, HistoryExact] | None = None, file: BinaryIO | None = None, *, code: str = ""
    ) -> None:
        self.known, self._file, self._code = known or {}, file, code

    @classmethod
    def open(cls, path: Path, code: str) -> ScanState:
        """Made where it is not there. ``code``: the digest of what verifies; what another noted stays and is not known.
        A last line that was cut off is taken away, so that the next begins its own.

        Raises InvalidRequest for a file of something else, which stays as it is.
        """
        if path.is_dir():
            raise InvalidRequest(f"state: {path} is a folder. Name a file.", field="state")
        body = path.read_bytes() if path.exists() else b""
        known: dict[str, HistoryExact] = {}
        *lines, cut = body.split(b"\n")
        for number, line in enumerate(lines, 1):
            try:
                noted: dict[str, Any] = json.loads(line)
                key, result = noted["key"], noted["result"]
                if noted.get("code") == code:
                    known[key] = HistoryExact.model_validate(result)
            except (ValueError, KeyError, TypeError):
                raise _no_state(path, number) from None
        if not (cut.startswith(_BEGINS) or _BEGINS.startswith(cut)):
            raise _no_state(path, len(lines) + 1)
        file = path.open("ab")
        file.truncate(len(body) - len(cut))
        checked = {key: result for key, result in known.items() if result.state != "unchecked"}
        return cls(checked, file, code=code)

    def add(self, key: str, result: HistoryExact) -> None:
        if self._file is not None:
            noted = {"key": key, "code": self._code, "result": result.model_dump(mode="json")}
            self._file.write(json.dumps(noted).encode() + b"\n")
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _no_state(path: Path, line: int) -> InvalidRequest:
    return InvalidRequest(f"state: {path}:{line}: it is no state file of a scan. Name another one.", field="state")
