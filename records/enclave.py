"""The enclave that this process runs in, as Gramine shows it: pseudo-files below ``/dev/attestation``."""

from __future__ import annotations

import threading
from pathlib import Path

from dialogue.faults import SettingsFault
from records.sgx_quote import REPORT_DATA_BYTES

__all__ = ["DEVICE", "Enclave"]

DEVICE = Path("/dev/attestation")
_NEEDED = "dcap"


class Enclave:
    """Gives quotes. ``device``: where the pseudo-files are."""

    def __init__(self, device: Path = DEVICE) -> None:
        self._device = device
        self._lock = threading.Lock()

    def require(self) -> None:
        """Raises SettingsFault where this process can prove nothing: it runs in no enclave, or without attestation."""
        try:
            found = (self._device / "attestation_type").read_text("ascii").strip("\0\n ")
        except (OSError, UnicodeDecodeError):
            found = None
        if found != _NEEDED:
            why = f"{self._device} is not there" if found is None else f"its attestation is {found[:20]!r}"
            raise SettingsFault(
                f"encryption.provider: attested is for an SGX enclave, and this process runs in none ({why}). Start it "
                'with gramine-sgx and sgx.remote_attestation = "dcap", or name another provider.',
                field="encryption.provider",
            )

    def quote(self, report_data: bytes) -> bytes:
        """A quote over those 64 bytes; it blocks for some milliseconds. Raises SettingsFault."""
        if len(report_data) != REPORT_DATA_BYTES:
            raise ValueError(f"report data has {len(report_data)} bytes and not {REPORT_DATA_BYTES}")
        self.require()
        try:
            with self._lock:  # between the two, another's report data would be quoted
                (self._device / "user_report_data").write_bytes(report_data)
                return (self._device / "quote").read_bytes()
        except OSError as error:
            raise SettingsFault(
                f"encryption.provider: attested: {self._device} gives no quote ({error.strerror}). Does the machine's "
                "quoting service (aesmd) run?",
                field="encryption.provider",
            ) from error
