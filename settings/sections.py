"""The settings of what runs Parley: Temporal, pools, steps, tenants, records, gateway, log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from dialogue.messages import MAX_MESSAGE_CHARACTERS, Identifier, OnBusy
from dialogue.plan import RetryPlan
from settings.edge import GatewayTlsSettings, LimitSettings, Network, Origin, RedisTlsSettings
from settings.retention import RetentionSettings
from settings.section import Section

__all__ = [
    "SERVICES",
    "DevServerSettings",
    "GatewaySettings",
    "LogSettings",
    "PoolSettings",
    "RecordsSettings",
    "Section",
    "Service",
    "StepSettings",
    "TemporalSettings",
    "TenantSettings",
    "TlsSettings",
    "VersionSettings",
]

Service = Literal[
    "workflows",
    "receive_input",
    "recognise_intent",
    "retrieve_knowledge",
    "generate_answer",
    "review_answer",
    "return_answer",
]
SERVICES: tuple[Service, ...] = Service.__args__
Port = Annotated[int, Field(ge=0, le=65535)]


class TlsSettings(Section):
    """TLS to the Temporal server."""

    server_root_ca: Path | None = None
    """The certificate authority, PEM; the system's own where none is given."""
    client_cert: Path | None = None
    """The client's certificate, PEM, for mutual TLS."""
    client_key: Path | None = None
    """Its private key, PEM."""
    domain: str | None = None
    """The server's name, where it differs from the address."""


class DevServerSettings(Section):
    """The server that ``parley up`` starts by itself. A production profile sets ``start: false``."""

    start: bool = True
    """Whether ``parley up`` starts a Temporal server of its own."""
    ui_port: Port = 8233
    """The Web UI's port."""
    database: Path | None = Path("temporal.db")
    """Its database file, below ``data``; null keeps everything in memory."""


class TemporalSettings(Section):
    """Where Temporal is."""

    address: str = Field(default="127.0.0.1:7233", pattern=r"^[^\s:]+:\d{1,5}$")
    """host:port of the front end."""
    namespace: str = "default"
    """The namespace that conversations live in."""
    web_ui: str = "http://127.0.0.1:8233"
    """The Web UI as a reader's browser reaches it: links are made from it."""
    tls: TlsSettings | None = None
    """TLS; null speaks in clear, for a server on this machine."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The variable with the API key that the server wants (Temporal Cloud); null: no key is sent."""
    api_key_file: Path | None = None
    """A file with that key, in place of the variable."""
    retention: float = Field(default=7, ge=1)
    """Days that Temporal keeps a closed run (set on a server that Parley starts)."""
    dev_server: DevServerSettings = DevServerSettings()
    """The server that ``parley up`` starts."""


class VersionSettings(Section):
    """Which version of Parley's code a pool's workers run, as Temporal's worker deployments know it."""

    build: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    """The build id: a release, a commit; another one for every change of the workflows."""
    deployment: str = Field(default="parley", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")
    """The deployment's name; pools that are rolled out together share it."""


class PoolSettings(Section):
    """A pool of workers: what it serves, on which task queue, with how many slots."""

    serves: tuple[Service, ...] = Field(min_length=1)
    """``workflows`` and the steps this pool does."""
    task_queue: Identifier | None = None
    """Its task queue; null: the pool's own name."""
    slots: int = Field(default=32, ge=1)
    """How many activities one worker runs at once."""
    pollers: int = Field(default=4, ge=1)
    """How many polls one worker keeps open for each kind of task."""
    processes: int = Field(default=1, ge=1)
    """How many workers ``parley up`` starts."""
    max_cached_workflows: int = Field(default=1000, ge=0)
    """Conversations kept in memory; beyond it one is replayed when it wakes."""
    metrics_port: Port = 0
    """Prometheus metrics of its first worker; 0 takes a free port and logs it."""
    shutdown_seconds: float = Field(default=10, ge=0)
    """How long a stopping worker lets its activities finish."""
    version: VersionSettings | None = None
    """Its workers' version: conversations stay with the one they began on; null: unversioned."""


class StepSettings(Section):
    """How long a step may take, in seconds, and how Temporal tries it again."""

    start_to_close: float = Field(default=10, gt=0)
    """One attempt."""
    schedule_to_close: float | None = Field(default=None, gt=0)
    """All attempts and the waiting between them; null: no bound."""
    heartbeat: float | None = Field(default=None, gt=0)
    """Without a heartbeat for so long, the worker is taken for dead."""
    retry: RetryPlan = RetryPlan()
    """Temporal's retry policy."""


class TenantSettings(Section):
    """One customer of this installation."""

    policy: str = "default"
    """Which of ``policies`` holds."""
    template: dict[str, str] = Field(default_factory=dict)
    """Output template by language; ``{answer}`` stands for the answer. Where there is none, the answer stays
    as it is."""
    stream: Literal["gated", "after-review", "open"] = "after-review"
    """What a reader sees while an answer is made. ``after-review``: nothing before it is reviewed; ``gated``: its
    tokens once nothing forbidden can be in them; ``open``: its tokens at once. What the review rejects is withdrawn."""
    on_busy: OnBusy = "queue"
    """A message while another is being answered: ``queue`` (it waits), ``reject`` (429) or ``interrupt`` (it ends the
    other). A call may say otherwise."""
    on_disconnect: Literal["continue", "cancel"] = "continue"
    """When a reader leaves in the middle: the answer is made all the same, or cancelled. A call may say otherwise."""
    max_characters: int = Field(default=8000, ge=1, le=MAX_MESSAGE_CHARACTERS)
    """The longest message."""
    pending: int = Field(default=8, ge=1, le=100)
    """Messages that may wait in one conversation."""
    limits: LimitSettings = LimitSettings()
    """What it may use."""
    webhook_hosts: tuple[str, ...] = ()
    """Hosts that webhooks may go to: ``hooks.example.com``, ``*.example.com``, ``*`` (any); none: nowhere. What a
    wildcard lets in must be https and in the public network."""
    webhook_secret_file: Path | None = None
    """The file with the secret that webhooks are signed with, a text or ``whsec_`` and Base64; without a secret they
    are not signed."""
    webhook_secret_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The variable of the workers that holds that secret; it stands before the file."""
    priority: int = Field(default=3, ge=1, le=5)
    """Whose turns go first where steps wait for a free slot: 1 before 2, and so on to 5."""
    log_texts: bool = False
    """Whether the log may hold its messages and answers, as the policy let them through."""


class RecordsSettings(Section):
    """What is kept, and where."""

    database: str = "sqlite"
    """``sqlite`` (a file below ``data``) or ``postgresql+asyncpg://user@host/name``."""
    token_log: str = "sqlite"  # noqa: S105 a log of tokens, no password
    """Where the streams of the turns are: ``sqlite`` (a file below ``data``), or ``redis://host:6379/0`` (``rediss://``
    for TLS) for several machines."""
    redis_tls: RedisTlsSettings | None = None
    """Certificates for a ``rediss://`` address; null: what the address itself says."""
    retention: RetentionSettings = RetentionSettings()
    """How long records are kept."""
    keep_minutes: float = Field(default=10, ge=1, le=1440)
    """So often closed runs are archived and what is too old is removed."""

    @field_validator("database")
    @classmethod
    def _database_is_known(cls, database: str) -> str:
        # the value is not repeated in the message: it may hold a password
        if database != "sqlite" and not database.startswith(("sqlite+aiosqlite://", "postgresql+asyncpg://")):
            raise PydanticCustomError("database", "must be sqlite or begin with postgresql+asyncpg://")
        return database

    @field_validator("token_log")
    @classmethod
    def _token_log_is_known(cls, token_log: str) -> str:
        # nor is this one
        if token_log != "sqlite" and not token_log.startswith(("redis://", "rediss://")):  # noqa: S105 no password
            raise PydanticCustomError("token_log", "must be sqlite or begin with redis:// or rediss://")
        return token_log


class GatewaySettings(Section):
    """How the outside talks to Parley."""

    host: str = "127.0.0.1"
    """The address it binds to."""
    port: Port = 8088
    """Its port; 0 takes a free one."""
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s/]+(/[^\s?#]*)?$")
    """The gateway as a reader's browser reaches it: the Web UI's texts link to the chat page. null: made from host and
    port, where those are a browser's too."""
    max_body: int = Field(default=1_000_000, ge=1000)
    """Bytes a request body may have."""
    wait_seconds: float = Field(default=300, gt=0)
    """How long a request waits for its answer before it gets 202 and where to look."""
    heartbeat_seconds: float = Field(default=10, gt=0)
    """A stream in which nothing happens says that it lives so often, for the proxies on its way."""
    come_back_seconds: float = Field(default=5, ge=0)
    """How long a reader who left may take to come back before ``on_disconnect: cancel`` ends the turn."""
    socket_turns: int = Field(default=16, ge=1, le=1000)
    """Turns that may be followed at once on one WebSocket."""
    tls: GatewayTlsSettings | None = None
    """TLS 1.3; null speaks in clear, for this machine or behind a proxy."""
    trusted_proxies: tuple[Network, ...] = ()
    """Addresses and networks (CIDR) of the proxies whose word on a user's address is taken."""
    proxy_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """The header in which those proxies tell it; the other one is whatever the user wrote."""
    cors: tuple[Origin, ...] = ()
    """Web origins whose pages may call the gateway, as ``https://shop.example``; ``*`` for all."""
    connections: int = Field(default=16_384, ge=128)
    """Connections held at once; more of them wait."""
    header_seconds: float = Field(default=30, gt=0, le=60)
    """Within so long a request's headers are sent; an idle HTTP/1.1 connection is closed after as long."""
    body_seconds: float = Field(default=30, gt=0)
    """Within so long a request's body is sent."""
    reader_seconds: float = Field(default=30, gt=0)
    """A reader who takes no byte of a stream for so long is dropped."""

    @property
    def page(self) -> str:
        """The chat page's address without the last slash; empty where nobody can tell it beforehand."""
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        if self.port == 0 or self.host in ("0.0.0.0", "::"):  # noqa: S104 compared, not bound
            return ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


class LogSettings(Section):
    """Log lines."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe lines to write. Libraries write none below info: theirs may hold what a person wrote."""
    format: Literal["auto", "json", "console"] = "auto"
    """``auto``: console in a terminal, JSON lines elsewhere."""
