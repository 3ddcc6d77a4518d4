"""Where everything that Parley writes lies below the data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from settings.schema import ModelSettings, Settings

__all__ = ["Layout"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below ``data``; nothing is made by asking for one."""

    data: Path

    @classmethod
    def of(cls, settings: Settings) -> Layout:
        return cls(settings.resolve(settings.data))

    @property
    def models(self) -> Path:
        return self.data / "models"

    def model(self, model: ModelSettings) -> Path:
        """The folder of a prepared model."""
        return self.models / f"{model.name}-{model.held}"

    @property
    def registry(self) -> Path:
        """The registry of models, where ``registry.location`` names no other place."""
        return self.data / "registry"

    @property
    def checkpoints(self) -> Path:
        """What was pulled and models are built from."""
        return self.data / "checkpoints"

    @property
    def knowledge(self) -> Path:
        return self.data / "knowledge"

    @property
    def cache(self) -> Path:
        """What is only kept to save time: it may be deleted, and is made again."""
        return self.data / "cache"

    @property
    def token_log(self) -> Path:
        return self.data / "token_log.db"

    @property
    def caller_key(self) -> Path:
        """The secret of caller tokens, where ``access.signing_key`` names no other file."""
        return self.data / "caller.key"

    @property
    def site_keys(self) -> Path:
        """The keys that wrap data keys, where ``encryption.key_file`` names no other file."""
        return self.data / "keys" / "site.keys"

    @property
    def signing_key(self) -> Path:
        """The private key of receipts and checkpoints, where ``encryption.signing_key`` names no other file."""
        return self.data / "keys" / "signing.pem"

    @property
    def service_identity(self) -> Path:
        """The private key of the key service, where ``key_service.identity_key`` names no other file."""
        return self.data / "keys" / "identity.pem"

    @property
    def payloads(self) -> Path:
        """Payloads outside the histories, where ``encryption.external.folder`` names no other place."""
        return self.data / "payloads"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def tls(self) -> Path:
        """The certificates that ``parley tls dev`` makes."""
        return self.data / "tls"

    @property
    def run(self) -> Path:
        """Locks, process ids and ports of what runs now."""
        return self.data / "run"

    def database_url(self, setting: str) -> str:
        """``records.database`` as SQLAlchemy takes it."""
        return f"sqlite+aiosqlite:///{self.data / 'records.db'}" if setting == "sqlite" else setting
