"""The shape of ``temporal.yaml``: every setting with its type, its default and a sentence that explains it.

``docs/configuration.md`` and the JSON Schema are generated from this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from dialogue.messages import Identifier
from dialogue.plan import StepName
from settings import pairs
from settings.access import AccessSettings, OidcSettings
from settings.advice import with_r1_sampling
from settings.answering import EmbeddingSettings, GenerationSettings, IntentSettings, KnowledgeSettings, ModelSettings
from settings.codec_server import CodecServerSettings
from settings.edge import GatewayTlsSettings, LimitSettings, RedisTlsSettings
from settings.encryption import AttestedSettings, EncryptionSettings, ExternalSettings, TransitSettings
from settings.key_service import EnclaveSettings, KeyServiceSettings
from settings.origins import Origins, Place
from settings.retention import RetentionSettings
from settings.sections import (
    SERVICES,
    DevServerSettings,
    GatewaySettings,
    LogSettings,
    PoolSettings,
    RecordsSettings,
    Section,
    Service,
    StepSettings,
    TemporalSettings,
    TenantSettings,
    TlsSettings,
    VersionSettings,
)
from settings.supply import PullSettings, RegistrySettings
from settings.telemetry import TelemetrySettings

__all__ = [
    "SERVICES",
    "AccessSettings",
    "AttestedSettings",
    "CodecServerSettings",
    "DevServerSettings",
    "EmbeddingSettings",
    "EnclaveSettings",
    "EncryptionSettings",
    "ExternalSettings",
    "GatewaySettings",
    "GatewayTlsSettings",
    "GenerationSettings",
    "IntentSettings",
    "KeyServiceSettings",
    "KnowledgeSettings",
    "LimitSettings",
    "LogSettings",
    "ModelSettings",
    "OidcSettings",
    "PoolSettings",
    "PullSettings",
    "RecordsSettings",
    "RedisTlsSettings",
    "RegistrySettings",
    "RetentionSettings",
    "Section",
    "Service",
    "Settings",
    "StepSettings",
    "TelemetrySettings",
    "TemporalSettings",
    "TenantSettings",
    "TlsSettings",
    "TransitSettings",
    "VersionSettings",
]

_QUICK_RETRY: dict[str, Any] = {"initial_interval": 0.05, "maximum_interval": 5.0}
_QUICK: dict[str, Any] = {
    "start_to_close": 15.0,
    "schedule_to_close": 300.0,
    "heartbeat": 2.0,
    "retry": _QUICK_RETRY,
}
_STEPS: dict[StepName, dict[str, Any]] = {
    "receive_input": _QUICK,
    "recognise_intent": _QUICK,
    # half a minute without an index, then the turn ends; while no worker is there, nothing is attempted or counted
    "retrieve_knowledge": {**_QUICK, "retry": {**_QUICK_RETRY, "maximum_attempts": 12}},
    "generate_answer": {
        "start_to_close": 300.0,
        "schedule_to_close": 900.0,
        "heartbeat": 2.0,
        "retry": _QUICK_RETRY,
    },
    "review_answer": _QUICK,
    # every accepted message leaves its audit row, so this step is tried until it succeeds
    "return_answer": {"start_to_close": 20.0, "heartbeat": 2.0, "retry": _QUICK_RETRY},
}


class Settings(Section):
    """The whole of ``temporal.yaml``."""

    data: Path = Path("var")
    """The folder for everything that Parley writes, relative to the file."""
    temporal: TemporalSettings = TemporalSettings()
    """Where Temporal is."""
    pools: dict[Identifier, PoolSettings] = Field(
        default_factory=lambda: {
            "dialogue": PoolSettings(serves=tuple(s for s in SERVICES if s != "generate_answer")),
            "gpu": PoolSettings(serves=("generate_answer",), slots=16, shutdown_seconds=30),
        }
    )
    """The worker pools by name."""
    steps: dict[StepName, StepSettings] = Field(default_factory=dict, validate_default=True)
    """Timeouts and retry policies by step. What is not given keeps its built-in value."""
    model: ModelSettings = ModelSettings()
    """The model that answers."""
    models: dict[Identifier, ModelSettings] = Field(default_factory=dict)
    """Other models by alias: a fallback, a canary."""
    registry: RegistrySettings = RegistrySettings()
    """The registry of models."""
    pull: PullSettings = PullSettings()
    """Bringing models in."""
    generation: GenerationSettings = GenerationSettings()
    """Sampling and the ladder."""
    knowledge: KnowledgeSettings = KnowledgeSettings()
    """The knowledge base."""
    intents: IntentSettings = IntentSettings()
    """The intents."""
    policies: dict[Identifier, dict[str, Any]] = Field(default_factory=lambda: {"default": {}})
    """Policies by name: what is refused, masked and checked, and what is said instead. ``parley config schema`` lists
    their keys."""
    tenants: dict[Identifier, TenantSettings] = Field(default_factory=lambda: {"default": TenantSettings()})
    """Tenants by name."""
    records: RecordsSettings = RecordsSettings()
    """What is kept."""
    encryption: EncryptionSettings = EncryptionSettings()
    """How it is protected."""
    gateway: GatewaySettings = GatewaySettings()
    """The gateway."""
    codec_server: CodecServerSettings = CodecServerSettings()
    """The codec server, which opens what is encrypted for whoever may read it."""
    key_service: KeyServiceSettings = KeyServiceSettings()
    """The key service, which hands tenants' keys to enclaves that prove what they are."""
    access: AccessSettings = AccessSettings()
    """Who may get in."""
    log: LogSettings = LogSettings()
    """Logging."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """Traces."""

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

    @model_validator(mode="before")
    @classmethod
    def _sampled_as_the_model_wants(cls, given: Any) -> Any:
        return with_r1_sampling(given)

    @model_validator(mode="after")
    def _possible_together(self) -> Settings:
        problems = list(pairs.problems(self))
        if problems:
            text = "; ".join(f"{problem.setting}: {problem.message}" for problem in problems)
            raise PydanticCustomError("impossible", "{text}", {"text": text, "problems": problems})
        return self

    @property
    def origins(self) -> Origins:
        """Where each setting was given."""
        return self._origins

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
