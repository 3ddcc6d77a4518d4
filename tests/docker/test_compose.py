"""docker/compose.yaml: what can be known of it without a container engine."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from jsonschema.validators import validator_for
from redis import AuthenticationError, Redis

from gateway.codec_serve import codec_app, ui_origins
from settings.layout import Layout
from settings.load import load
from settings.schema import Settings
from tests.support.redis_server import redis_server
from tests.support.servers import executable


@pytest.fixture(scope="module")
def compose(repository: Path) -> dict[str, Any]:
    return yaml.safe_load((repository / "docker" / "compose.yaml").read_text("utf-8"))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    return compose["services"]


@pytest.fixture
def production(repository: Path, services: dict[str, Any]) -> Settings:
    """The production profile, with what compose puts into a worker's environment."""
    given = {name: _expanded(str(value)) for name, value in services["gateway"]["environment"].items()}
    return load(repository / "docker" / "temporal.production.yaml", given)


def _expanded(value: str) -> str:
    value = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
    return re.sub(r"\$\{(\w+):\?[^}]*\}", "secret", value)


def _values(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        for value in tree.values():
            yield from _values(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _values(value)
    else:
        yield tree


def test_it_is_a_compose_file(compose: dict[str, Any]) -> None:
    """By the Compose Specification's own JSON Schema, as check-jsonschema carries it."""
    schemas = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((schemas / "compose-spec.json").read_text("utf-8"))
    validator = validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(compose)] == []
    assert not validator.is_valid({"services": {"web": {"imaeg": "x"}}})


def test_what_is_waited_for_is_there(services: dict[str, Any]) -> None:
    """Every dependency is a service; one that must be healthy has a check, one that must end is not restarted."""
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            needed = services[other]
            if how["condition"] == "service_healthy":
                assert "healthcheck" in needed, f"{name} waits for {other}"
            if how["condition"] == "service_completed_successfully":
                assert needed.get("restart", "no").startswith(("no", "on-failure")), f"{name} waits for {other}"


def test_every_named_volume_and_file_is_there(compose: dict[str, Any], repository: Path) -> None:
    """A volume is declared, a mounted file and a Dockerfile stand in the repository."""
    folder = repository / "docker"
    used: set[str] = set()
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.rsplit("}", 1)[0] + "}" if volume.startswith("${") else volume.split(":")[0]
            if source.startswith("./"):
                assert (folder / source).is_file(), source
            elif not source.startswith("${"):
                used.add(source)
        if "build" in service:
            assert (folder / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert used == set(compose["volumes"])


def test_only_this_machine_reaches_it(services: dict[str, Any]) -> None:
    """The Web UI asks nobody who they are, and neither speaks TLS, so no port is open to other machines."""
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_images_have_versions(services: dict[str, Any]) -> None:
    """None is a moving `latest`."""
    images = [service["image"] for service in services.values()]
    assert [image for image in images if not re.fullmatch(r"[\w./-]+:\d[\w.-]*", image)] == []


def test_no_secret_has_a_value(compose: dict[str, Any]) -> None:
    """Passwords come from outside, and compose refuses to start without them."""
    names = {name for value in _values(compose) for name in re.findall(r"\$\{(\w+)", str(value))}
    required = {name for value in _values(compose) for name in re.findall(r"\$\{(\w+):\?", str(value))}
    assert required == {"RECORDS_PASSWORD", "REDIS_PASSWORD", "TEMPORAL_PASSWORD"}
    assert names - required == {"MODELS"}
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|PWD|AUTH", name):
                assert str(value).startswith("${")


def test_the_server_is_the_one_that_is_tested(services: dict[str, Any]) -> None:
    """Server, tools and Web UI have the versions of the development server that all other tests use."""
    said = subprocess.run([executable("temporal"), "--version"], capture_output=True, text=True, check=True).stdout
    tested = re.search(r"Server ([\d.]+), UI ([\d.]+)", said)
    assert tested is not None
    images = {service["image"] for service in services.values()}
    assert {image for image in images if image.startswith("temporalio/")} == {
        f"temporalio/server:{tested[1]}",
        f"temporalio/admin-tools:{tested[1]}",
        f"temporalio/ui:{tested[2]}",
    }


def test_every_pool_has_a_worker(services: dict[str, Any], production: Settings) -> None:
    """The commands name the pools of the production profile, each once, and the gateway besides."""
    commands = [service["command"] for service in services.values() if service["image"].startswith("parley")]
    assert sorted(command[1] for command in commands if command[0] == "worker") == sorted(production.pools)
    assert [command[0] for command in commands if command[0] != "worker"] == ["gateway", "codec", "prepare"]


def test_it_encrypts_and_the_web_ui_knows_who_decrypts(services: dict[str, Any], production: Settings) -> None:
    """The key file is on a volume of its own, which every part of Parley has and no database; the codec server listens
    where the Web UI asks, and takes it alone."""
    assert production.encryption.provider == "local"
    keys = f"keys:{Layout.of(production).site_keys.parent}"
    for name, service in services.items():
        assert (keys in service.get("volumes", [])) is service["image"].startswith("parley"), name
    codec = production.codec_server
    url = codec.reached_at(codec.port, tls=False)
    assert services["web-ui"]["environment"]["TEMPORAL_CODEC_ENDPOINT"] == url
    assert f"{urlsplit(url).netloc}:{codec.port}" in services["codec"]["ports"]
    assert f":{codec.port}/healthz" in services["codec"]["healthcheck"]["test"][3]
    assert ui_origins(production) == (production.temporal.web_ui,)


async def test_the_codec_server_of_the_profile_starts(production: Settings, tmp_path: Path) -> None:
    """With a database of the test's: its own key file is made, and it answers for its health and for nothing else."""
    records = production.records.model_copy(update={"database": "sqlite"})
    settings = production.model_copy(update={"data": tmp_path, "records": records})
    async with (
        codec_app(settings, settings.codec_server.port) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8090") as client,
    ):
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.post("/decode", json={"payloads": []})).status_code == 401
    assert (tmp_path / "keys" / "site.keys").stat().st_mode & 0o777 == 0o600


def test_addresses_are_names_of_services(services: dict[str, Any], production: Settings) -> None:
    """The profile speaks to the Temporal, the database and the Redis that compose starts, at the ports it opens."""
    from sqlalchemy import make_url

    token_log = urlsplit(production.records.token_log)
    assert (token_log.scheme, token_log.hostname, token_log.port, token_log.password) == (
        ("redis", "redis", 6379, "secret")
    )
    assert "redis" in services
    database = make_url(production.records.database)
    assert (database.host, database.username, database.password) == ("records-db", "parley", "secret")
    assert services["records-db"]["environment"]["POSTGRES_DB"] == database.database
    assert production.temporal.address.split(":")[0] in services
    assert production.temporal.namespace == services["temporal-namespace"]["environment"]["NAMESPACE"]
    web_ui = production.temporal.web_ui.removeprefix("http://")
    assert any(port.startswith(f"{web_ui}:") for port in services["web-ui"]["ports"])
    assert any(port.endswith(f":{production.gateway.port}") for port in services["gateway"]["ports"])


def test_redis_starts_as_compose_starts_it(services: dict[str, Any]) -> None:
    """A real one takes these arguments: it wants the password, keeps what it is told, and forgets nothing when full."""
    program, *options = (_expanded(part) for part in services["redis"]["command"])
    assert program == "redis-server"
    with redis_server(*options) as server:
        with Redis.from_url(server.url) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
        with Redis.from_url(server.url, password="secret", decode_responses=True) as redis:
            held = redis.config_get("appendonly", "save", "maxmemory", "maxmemory-policy")
    kept = {"appendonly": "yes", "save": "", "maxmemory": str(2 << 30), "maxmemory-policy": "noeviction"}
    assert held == kept


@pytest.fixture(scope="module")
def secured(repository: Path) -> dict[str, Any]:
    return yaml.safe_load((repository / "docker" / "compose.secured.yaml").read_text("utf-8"))


def test_the_secured_profile_fits_over_it(compose: dict[str, Any], secured: dict[str, Any], repository: Path) -> None:
    """By the same schema; it changes services that are there, and Parley takes what it sets."""
    schemas = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((schemas / "compose-spec.json").read_text("utf-8"))
    assert [error.message for error in validator_for(schema)(schema).iter_errors(secured)] == []
    assert secured["services"].keys() <= compose["services"].keys()
    for name, service in secured["services"].items():
        assert service.keys() <= {"environment", "volumes", "command", "healthcheck"}, name
        assert "${TLS_FILES:?set it in docker/.env}:/tls:ro" in service["volumes"], name
    both = compose["services"]["gateway"]["environment"] | secured["services"]["gateway"]["environment"]
    given = {name: _expanded(str(value)) for name, value in both.items()}
    settings = load(repository / "docker" / "temporal.production.yaml", given)
    assert settings.gateway.tls is not None
    assert settings.temporal.tls is not None
    assert settings.records.redis_tls is not None
    assert settings.records.token_log == "rediss://:secret@redis:6379/0"
    assert given[settings.temporal.api_key_env or ""] == "secret"
    of_codec = compose["services"]["codec"]["environment"] | secured["services"]["codec"]["environment"]
    given = {name: _expanded(str(value)) for name, value in of_codec.items()}
    given["PARLEY_ACCESS__OIDC__ISSUER"] = "https://login.example"
    settings = load(repository / "docker" / "temporal.production.yaml", given)
    assert settings.gateway.tls is not None
    assert settings.access.oidc is not None
    asked = secured["services"]["web-ui"]["environment"]["TEMPORAL_CODEC_ENDPOINT"]
    assert settings.codec_server.url == _expanded(asked)
    assert ui_origins(settings) == ("http://127.0.0.1:8080",)


def test_the_secured_redis_keeps_its_other_arguments(compose: dict[str, Any], secured: dict[str, Any]) -> None:
    """A command is replaced as a whole, so it is said again."""
    plain, tls = (each["services"]["redis"]["command"] for each in (compose, secured))
    assert tls[: len(plain)] == plain


def test_whoever_uses_redis_waits_for_it(services: dict[str, Any]) -> None:
    """Every part of Parley that runs on, and none before it answers to its password."""
    for service in services.values():
        if service["image"].startswith("parley") and service["command"][0] != "prepare":
            assert service["depends_on"]["redis"]["condition"] == "service_healthy"
    assert set(services["redis"]["environment"]) == {"REDISCLI_AUTH"}
    assert "PONG" in services["redis"]["healthcheck"]["test"][1]


def test_all_parts_share_the_data(services: dict[str, Any], production: Settings) -> None:
    """The volume is the profile's data folder; what is named by process id is each container's own."""
    for service in services.values():
        if service["image"].startswith("parley"):
            assert f"data:{production.data}" in service["volumes"]
            assert [mount.split(":")[0] for mount in service["tmpfs"]] == [f"{production.data}/run"]


def test_a_worker_may_finish(services: dict[str, Any], production: Settings) -> None:
    """It is given longer than it gives its activities."""
    for name, pool in production.pools.items():
        assert float(services[name]["stop_grace_period"].removesuffix("s")) > pool.shutdown_seconds + 10
