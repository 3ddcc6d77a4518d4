"""Files with secrets, on file systems of either kind."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from records.private_file import write_private_once


@pytest.mark.parametrize("links", [True, False])
def test_the_first_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """For its owner alone, also where there are no hard links (Gramine); nothing else is left lying about."""

    def no_link(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    if not links:
        monkeypatch.setattr(os, "link", no_link)
    path = tmp_path / "keys" / "site.keys"
    for text in ("first", "second"):
        write_private_once(path, text)
    assert path.read_text() == "first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_disk_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for one without links."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space left"):
        write_private_once(tmp_path / "site.keys", "first")
    assert list(tmp_path.iterdir()) == []
