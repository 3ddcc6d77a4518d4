"""Settings that are each valid and impossible together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from settings.hosts import is_loopback
from settings.origins import Place, Problem
from settings.sections import SERVICES, StepSettings

if TYPE_CHECKING:
    from settings.answering import ModelSettings
    from settings.schema import Settings

__all__ = ["problems"]

_THIS_MACHINE = {"127.0.0.1", "localhost", "0.0.0.0"}  # noqa: S104 compared with, never bound to


def problems(settings: Settings) -> Iterator[Problem]:
    """Every impossible pair, each at the setting that is best changed."""
    yield from _pools(settings)
    for name, step in settings.steps.items():
        yield from _times(name, step)
    yield from _names(settings)
    yield from _lengths(settings)
    for place, model in ((("model",), settings.model), *((("models", name), m) for name, m in settings.models.items())):
        yield from _engine(place, model)
    yield from _server(settings)
    yield from _access(settings)
    yield from _edge(settings)
    yield from _encryption(settings)
    yield from _retention(settings)


def _retention(settings: Settings) -> Iterator[Problem]:
    kept = settings.records.retention
    long = "is for good" if kept.archive is None else f"is {kept.archive:g} days"
    for name, days, why in (
        ("payloads", kept.payloads, "a history is not readable without its payloads"),
        ("audit", kept.audit, "models and snapshots are kept for what the rows name, and a rerun needs try records"),
    ):
        if days is not None and (kept.archive is None or days < kept.archive):
            yield Problem(("records", "retention", name), f"must be at least as long as archive, which {long}: {why}")


def _pools(settings: Settings) -> Iterator[Problem]:
    served = Counter(service for pool in settings.pools.values() for service in pool.serves)
    for service in SERVICES:
        if served[service] != 1:
            how = "no pool" if not served[service] else "more than one pool"
            yield Problem(("pools",), f"{service} is served by {how}; let exactly one pool serve it")
    if served["workflows"] and served["receive_input"]:
        pool = settings.pool_serving("receive_input")
        if pool != settings.pool_serving("workflows"):
            yield Problem(("pools", pool, "serves"), "receive_input must be served by the pool that serves workflows")
    queues: dict[str, str] = {}
    for name, pool in settings.pools.items():
        queue = pool.task_queue or name
        if (other := queues.setdefault(queue, name)) != name:
            yield Problem(("pools", name), f"polls the task queue {queue} of the pool {other}; give it one of its own")


def _times(name: str, step: StepSettings) -> Iterator[Problem]:
    place = ("steps", name)
    if step.heartbeat is not None and step.heartbeat >= step.start_to_close:
        yield Problem((*place, "heartbeat"), f"must be shorter than start_to_close, {step.start_to_close:g}")
    if step.schedule_to_close is not None and step.schedule_to_close < step.start_to_close:
        yield Problem(
            (*place, "schedule_to_close"), f"must be at least as long as start_to_close, {step.start_to_close:g}"
        )
    if step.retry.maximum_interval < step.retry.initial_interval:
        least = step.retry.initial_interval
        yield Problem((*place, "retry", "maximum_interval"), f"must be at least initial_interval, {least:g}")


def _names(settings: Settings) -> Iterator[Problem]:
    for name, tenant in settings.tenants.items():
        if tenant.policy not in settings.policies:
            yield Problem(("tenants", name, "policy"), f"there is no policy {tenant.policy!r} under policies")
    for poor, rungs in settings.generation.ladder.items():
        for index, rung in enumerate(rungs):
            if rung.model is not None and rung.model not in settings.models:
                place = ("generation", "ladder", poor, index, "model")
                yield Problem(place, f"there is no model {rung.model!r} under models")


def _lengths(settings: Settings) -> Iterator[Problem]:
    asked, room = settings.generation.max_new_tokens, settings.model.widths[-1]
    if asked >= room:
        yield Problem(
            ("generation", "max_new_tokens"),
            f"{asked} leaves no room for a prompt in model.widths, whose last is {room}",
        )


_OF_SERVERS = ("base_url", "served_name", "api_key_env", "api_key_file")


def _engine(place: Place, model: ModelSettings) -> Iterator[Problem]:
    yield from _vllm(place, model)
    if model.engine == "openai":
        if model.base_url is None:
            yield Problem((*place, "engine"), "openai needs base_url, the server's address; give it beside this")
        if model.api_key_env is not None and model.api_key_file is not None:
            yield Problem((*place, "api_key_file"), "is given beside api_key_env; give one of them")
        return
    for name in _OF_SERVERS:
        if getattr(model, name) is not None:
            yield Problem((*place, name), f"is for engine: openai, and engine is {model.engine}; take one of them away")


def _vllm(place: Place, model: ModelSettings) -> Iterator[Problem]:
    ways = ("bf16", "checkpoint")
    if model.engine == "vllm" and model.quantization not in ways:
        yield Problem(
            (*place, "quantization"),
            f"vLLM reads no {model.quantization} of ours; take bf16, or checkpoint for a folder as it was published, "
            "quantized (GPTQ, AWQ, FP8) or not",
        )
    if model.engine == "transformers" and model.quantization == "checkpoint":
        yield Problem((*place, "quantization"), "checkpoint is for engine: vllm; take one of the others")
    if model.engine != "vllm" and model.vllm:
        yield Problem((*place, "vllm"), f"is for engine: vllm, and engine is {model.engine}; take one of them away")


def _server(settings: Settings) -> Iterator[Problem]:
    temporal = settings.temporal
    host, _, port = temporal.address.rpartition(":")
    if int(port) > 65535:
        yield Problem(("temporal", "address"), f"there is no port {port}")
    if temporal.tls is not None and (temporal.tls.client_cert is None) != (temporal.tls.client_key is None):
        yield Problem(("temporal", "tls"), "client_cert and client_key are given together or not at all")
    if not temporal.dev_server.start:
        return
    if host not in _THIS_MACHINE:
        yield Problem(
            ("temporal", "address"),
            f"{host} is another machine; for a server there set temporal.dev_server.start: false",
        )
    if temporal.tls is not None:
        yield Problem(
            ("temporal", "tls"), "the server that parley up starts speaks no TLS; set temporal.dev_server.start: false"
        )
    ports = {"temporal.address": int(port), "gateway.port": settings.gateway.port}
    ui = temporal.dev_server.ui_port
    for name, taken in ports.items():
        if ui and ui == taken:
            yield Problem(("temporal", "dev_server", "ui_port"), f"{ui} is also the port of {name}")
    if settings.codec_server.port in {settings.gateway.port, int(port), ui} - {0} and (
        settings.encryption.provider != "none"
    ):
        taken = settings.codec_server.port
        yield Problem(("codec_server", "port"), f"{taken} is also the port of the gateway, Temporal or the Web UI")
    if settings.gateway.port and settings.gateway.port == int(port):
        yield Problem(("gateway", "port"), f"{port} is also the port of temporal.address")


def _access(settings: Settings) -> Iterator[Problem]:
    access, host = settings.access, settings.gateway.host
    if access.mode == "tokens" and access.oidc is None:
        yield Problem(("access", "oidc"), "names the issuer of the tokens of mode: tokens; give it")
    if access.mode != "open":
        return
    if not access.trust_network and not is_loopback(host):
        yield Problem(
            ("gateway", "host"),
            f"other machines reach {host}, and access.mode is open; set access.mode: keys, or "
            "access.trust_network: true where you trust whoever reaches it",
        )
    if access.oidc is not None:
        yield Problem(("access", "oidc"), "is for mode: keys, and mode is open; take one of them away")


def _edge(settings: Settings) -> Iterator[Problem]:
    temporal, records = settings.temporal, settings.records
    if temporal.api_key_env is not None and temporal.api_key_file is not None:
        yield Problem(("temporal", "api_key_file"), "is given beside api_key_env; give one of them")
    if (temporal.api_key_env or temporal.api_key_file) and temporal.tls is None:
        name = "api_key_file" if temporal.api_key_file else "api_key_env"
        yield Problem(("temporal", name), "would be sent in clear; give temporal.tls beside it ({} is enough)")
    if (tls := records.redis_tls) is not None:
        if not records.token_log.startswith("rediss://"):
            yield Problem(("records", "redis_tls"), "is for a token_log that begins with rediss://")
        if (tls.cert is None) != (tls.key is None):
            yield Problem(("records", "redis_tls"), "cert and key are given together or not at all")
    for name, tenant in settings.tenants.items():
        if (most := tenant.limits.max_body) is not None and most > settings.gateway.max_body:
            place = ("tenants", name, "limits", "max_body")
            yield Problem(place, f"must be at most gateway.max_body, {settings.gateway.max_body}")


def _encryption(settings: Settings) -> Iterator[Problem]:
    place, given = ("encryption",), settings.encryption
    if given.provider in ("vault", "aws", "gcp") and given.key is None:
        yield Problem((*place, "key"), f"names the key of the provider {given.provider}; give it")
    if given.provider == "attested":
        for name in ("address", "service_key"):
            if getattr(given.attested, name) is None:
                yield Problem((*place, "attested", name), "is needed by the provider attested; give it")
    if given.external.store != "none" and given.provider == "none":
        yield Problem((*place, "external", "store"), "stores ciphertext alone; set encryption.provider too")
    if given.external.store == "s3" and given.external.bucket is None:
        yield Problem((*place, "external", "bucket"), "names the bucket of s3; give it")
