"""What the Redis back end may suffer: a server that is killed, hangs, is full, forgets, or lets nobody in."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from redis import Redis

import records.token_log_redis
from dialogue.faults import TokenLogFenced, TokenLogUnavailable
from records.open_token_log import open_token_log
from records.token_log import StreamEvent, TokenLog
from records.token_log_redis import RedisTokenLog
from settings.layout import Layout
from settings.schema import RecordsSettings, RedisTlsSettings
from tests.support.redis_server import RedisServer, redis_server

STREAM = "conv-1/0001"
DAY = 86_400


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """Of this test alone: it is killed, filled and emptied."""
    with redis_server() as server:
        yield server


@pytest.fixture
def admin(server: RedisServer) -> Iterator[Any]:
    with Redis.from_url(server.url) as redis:
        yield redis


@pytest.fixture
async def log(server: RedisServer) -> AsyncIterator[RedisTokenLog]:
    log = RedisTokenLog(server.url)
    yield log
    await log.close()


async def until_end(log: TokenLog, after: int = 0) -> list[StreamEvent]:
    return [event async for event in log.follow(STREAM, after)]


# lost and found


async def test_a_killed_server_is_survived(server: RedisServer, log: RedisTokenLog) -> None:
    """kill -9 while one writes and one follows: the writer is told and goes on, the follower misses nothing."""
    following = asyncio.create_task(until_end(log))
    told, enough = asyncio.Event(), asyncio.Event()
    faults: list[str] = []

    async def write(count: int) -> None:
        offset = 0
        while offset < count:
            try:
                offset = len((await log.open_attempt(STREAM, 1, 0, 1)).token_ids)
                while offset < count:
                    await log.append_tokens(STREAM, 1, 0, 1, offset, [offset], [("token", f"{offset},")])
                    offset += 1
                    if offset == 100:
                        enough.set()
            except TokenLogUnavailable as fault:
                faults.append(fault.message)
                told.set()
                await asyncio.sleep(0.01)

    writing = asyncio.create_task(write(3000))
    await enough.wait()
    await asyncio.to_thread(server.kill)
    await told.wait()
    await asyncio.to_thread(server.start)
    await writing
    await log.publish(STREAM, "final", {})
    events = await following
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert "".join(event.data.get("text", "") for event in events) == "".join(f"{n}," for n in range(3000))
    assert await log.tokens(STREAM, 1, 0) == tuple(range(3000))
    assert [fault for fault in faults if "Check that Redis runs there" not in fault] == []


async def test_connections_that_were_closed_meanwhile_are_not_used(log: RedisTokenLog, admin: Any) -> None:
    """A server or a firewall closes idle ones: the next write finds that out before it sends."""
    assert await log.publish(STREAM, "accepted", {}) == 1
    for expected in range(2, 5):
        await asyncio.to_thread(admin.client_kill_filter, _type="normal", skipme=True)
        assert await log.publish(STREAM, "step", {}) == expected


async def test_scripts_that_were_forgotten_are_sent_again(log: RedisTokenLog, admin: Any) -> None:
    """As after every start of the server."""
    assert await log.publish(STREAM, "accepted", {}) == 1
    admin.script_flush()
    assert await log.publish(STREAM, "step", {}) == 2


async def test_a_follower_ahead_of_what_redis_kept_is_told(server: RedisServer, log: RedisTokenLog, admin: Any) -> None:
    """Where a restart lost events it would wait for ids that come a second time, or never."""
    await log.publish(STREAM, "accepted", {})
    events = log.follow(STREAM)
    assert (await anext(events)).id == 1
    waiting = asyncio.create_task(anext(events))
    admin.flushall()
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    with pytest.raises(TokenLogUnavailable, match="events up to 1 were read, but after a restart Redis holds 0"):
        await waiting


async def test_a_follower_gives_up_in_the_end(
    server: RedisServer, log: RedisTokenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once where it never reached a server, else after some patience."""
    await log.publish(STREAM, "accepted", {})
    events = log.follow(STREAM)
    await anext(events)
    await asyncio.to_thread(server.kill)
    with pytest.raises(TokenLogUnavailable, match="cannot be used: Error 111"):
        await until_end(log)
    monkeypatch.setattr(records.token_log_redis, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(TokenLogUnavailable, match="cannot be used: Error 111"):
        await anext(events)


async def test_closing_wakes_a_follower_that_waits_for_the_server(server: RedisServer, log: RedisTokenLog) -> None:
    """It is told that the log was closed, not that the server is gone."""
    await log.publish(STREAM, "accepted", {})
    events = log.follow(STREAM)
    await anext(events)
    await asyncio.to_thread(server.kill)
    waiting = asyncio.create_task(anext(events))
    with pytest.raises(TokenLogUnavailable):
        await log.publish(STREAM, "step", {})
    await log.close()
    with pytest.raises(TokenLogUnavailable, match="was closed"):
        await waiting


async def test_a_server_that_hangs_holds_nobody(server: RedisServer) -> None:
    """A write is given up, a short silence is no loss for a follower, and the fences hold if it arrived after all."""
    log = RedisTokenLog(f"{server.url}?socket_timeout=0.2")
    await log.open_attempt(STREAM, 1, 0, 1)
    await log.append_tokens(STREAM, 1, 0, 1, 0, [5], [("token", "a")])
    events = log.follow(STREAM)
    assert (await anext(events)).id == 1
    server.send(signal.SIGSTOP)
    with pytest.raises(TokenLogUnavailable, match=r"(no answer in time|Timeout reading).* Check that Redis runs there"):
        await log.append_tokens(STREAM, 1, 0, 1, 1, [6], [("token", "b")])
    outcomes = await asyncio.gather(*(log.publish(STREAM, "step", {}) for _ in range(500)), return_exceptions=True)
    assert {str(outcome).partition(" and is ")[2] for outcome in outcomes} == {
        "asked again in a while. Check that Redis runs there and can be reached."
    }
    server.send(signal.SIGCONT)
    other = RedisTokenLog(server.url)
    assert (await other.open_attempt(STREAM, 1, 0, 1)).token_ids == (5, 6)
    with pytest.raises(TokenLogFenced, match="the log holds 2"):
        await other.append_tokens(STREAM, 1, 0, 1, 1, [6], [("token", "b")])
    await other.publish(STREAM, "final", {})
    assert [event.id async for event in events] == [2, 3]
    await other.close()
    await log.close()


async def test_of_many_that_wait_for_a_server_that_hangs_none_waits_long(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that find no connection free do not wait in their turn; later it is asked again."""
    monkeypatch.setattr(records.token_log_redis, "REST_SECONDS", 1.0)
    log = RedisTokenLog(f"{server.url}?socket_timeout=0.5")
    await log.publish(STREAM, "accepted", {})
    server.send(signal.SIGSTOP)
    async with asyncio.timeout(5):  # one after the other they would take 16 seconds
        outcomes = await asyncio.gather(*(log.publish(STREAM, "step", {}) for _ in range(500)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {TokenLogUnavailable}
    server.send(signal.SIGCONT)
    while True:
        try:
            await log.publish(STREAM, "final", {})
            break
        except TokenLogUnavailable:
            await asyncio.sleep(0.1)
    await log.close()


# refused


async def test_a_full_server_is_named_and_nothing_is_written_by_halves(log: RedisTokenLog, admin: Any) -> None:
    """A write that has no room leaves neither tokens nor events; with room it goes on."""
    await log.open_attempt(STREAM, 1, 0, 1)
    await log.append_tokens(STREAM, 1, 0, 1, 0, [5], [("token", "a")])
    admin.config_set("maxmemory", 1)
    with pytest.raises(TokenLogUnavailable, match="Give Redis more memory"):
        await log.append_tokens(STREAM, 1, 0, 1, 1, [6], [("reasoning", "b"), ("token", "c")])
    assert await log.tokens(STREAM, 1, 0) == (5,)
    assert [event.id for event in await log.read(STREAM)] == [1]
    admin.config_set("maxmemory", 0)
    assert await log.append_tokens(STREAM, 1, 0, 1, 1, [6], [("reasoning", "b"), ("token", "c")]) == 3


async def test_a_replica_is_named(log: RedisTokenLog, admin: Any) -> None:
    """After a failover to another address."""
    admin.replicaof("127.0.0.1", 1)
    with pytest.raises(TokenLogUnavailable, match="Name the primary: this is a replica"):
        await log.publish(STREAM, "accepted", {})


async def test_a_password_is_wanted_and_not_told(server: RedisServer, admin: Any) -> None:
    """Wrong or missing: a fault with the way out; right: nothing. No message holds one."""
    admin.acl_setuser("parley", enabled=True, passwords=["+s3cret/@1"], keys=["parley:*"], commands=["+@all"])
    admin.config_set("requirepass", "other")
    host = server.url.removeprefix("redis://")
    for wrong in (
        server.url,
        f"redis://:wr0ng@{host}",
        f"redis://parley:wr0ng@{host}",
        f"redis://{host}?password=wr0ng",
    ):
        log = RedisTokenLog(wrong)
        with pytest.raises(TokenLogUnavailable, match="Correct the user and the password") as refused:
            await log.publish(STREAM, "accepted", {})
        assert "wr0ng" not in refused.value.message
        await log.close()
    log = RedisTokenLog(f"redis://parley:s3cret%2F%401@{host}")
    assert await log.publish(STREAM, "accepted", {}) == 1
    assert [event.id for event in await log.read(STREAM)] == [1]
    await log.close()


def _certificate(folder: Path) -> tuple[Path, Path]:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    name = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    made = ("-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate)
    subprocess.run(["openssl", "req", "-x509", *made, *name], check=True, capture_output=True)
    return key, certificate


async def test_a_server_with_tls(tmp_path: Path) -> None:
    """Spoken to by ``rediss://``, and its certificate is checked."""
    key, certificate = _certificate(tmp_path)
    tls = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no"]
    with redis_server(tls_options=tls) as server:
        assert server.url.startswith("rediss://")
        stranger = RedisTokenLog(server.url)
        with pytest.raises(TokenLogUnavailable, match=r"CERTIFICATE_VERIFY_FAILED|self-signed"):
            await stranger.publish(STREAM, "accepted", {})
        await stranger.close()
        log = RedisTokenLog(f"{server.url}?ssl_ca_certs={certificate}")
        following = asyncio.create_task(until_end(log))
        await log.publish(STREAM, "final", {})
        assert [event.id for event in await following] == [1]
        await log.close()


async def test_a_server_that_asks_for_a_certificate(tmp_path: Path) -> None:
    """``records.redis_tls`` gives the authority and the client's own; without that pair it is not let in."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name in ("127.0.0.1", "gateway"):
        issued = authority.issue_cert(name)
        issued.private_key_pem.write_to_path(tmp_path / f"{name}-key.pem")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    files = {"cert-file": "127.0.0.1.pem", "key-file": "127.0.0.1-key.pem", "ca-cert-file": "ca.pem"}
    options = [part for name, file in files.items() for part in (f"--tls-{name}", str(tmp_path / file))]
    ours = RedisTlsSettings(ca=tmp_path / "ca.pem", cert=tmp_path / "gateway.pem", key=tmp_path / "gateway-key.pem")
    with redis_server(tls_options=[*options, "--tls-auth-clients", "yes"]) as server:
        for tls, taken in ((ours, True), (RedisTlsSettings(ca=ours.ca), False), (None, False)):
            settings = RecordsSettings(token_log=server.url, redis_tls=tls)
            log = open_token_log(settings, Layout(tmp_path))
            if taken:
                assert await log.publish(STREAM, "accepted", {}) == 1
            else:
                with pytest.raises(TokenLogUnavailable, match=r"records\.token_log: rediss://"):
                    await log.publish(STREAM, "accepted", {})
            await log.close()


@pytest.mark.parametrize(
    "url",
    ["redis://host:port/0", "rediss://:s3/cret@host:1", "redis://host?db=x", "redis://host?colour=red", "http://h"],
)
def test_an_address_that_cannot_be_used(url: str) -> None:
    """It is said at once and not repeated."""
    with pytest.raises(TokenLogUnavailable, match=r"not a URL of Redis.* Use redis://") as refused:
        RedisTokenLog(url)
    assert "s3" not in refused.value.message


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is wanted by sites with Redis alone."""
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(TokenLogUnavailable, match=r"pip install 'parley\[redis\]'"):
        RedisTokenLog("redis://127.0.0.1:6379/0")


async def test_what_could_never_fit_is_not_sent(server: RedisServer) -> None:
    """One write beyond the bound of a stream is refused here: no server has to take it in first."""
    log = RedisTokenLog(server.url, max_stream_bytes=1000)
    await log.open_attempt(STREAM, 1, 0, 1)
    await asyncio.to_thread(server.kill)
    with pytest.raises(TokenLogUnavailable, match="holds at most 1000 bytes"):
        await log.append_tokens(STREAM, 1, 0, 1, 0, range(300), [])
    with pytest.raises(TokenLogUnavailable, match="holds at most 1000 bytes"):
        await log.publish(STREAM, "step", {"text": "x" * 1000})
    await log.close()


# kept for a while


async def test_a_stream_goes_by_itself_and_as_a_whole(server: RedisServer, log: RedisTokenLog, admin: Any) -> None:
    """Everything of a stream expires in the same moment, which every write moves on."""

    def expires() -> set[int]:
        keys = [key for key in admin.scan_iter("*") if STREAM.encode() in key]
        assert len(keys) == 3
        return {admin.pexpiretime(key) for key in keys}

    now = admin.time()[0]
    short = RedisTokenLog(server.url, keep_seconds=DAY)
    await short.open_attempt(STREAM, 1, 0, 1)
    await short.append_tokens(STREAM, 1, 0, 1, 0, [5], [("token", "a")])
    (first,) = expires()
    assert DAY - 5 < first / 1000 - now < DAY + 120
    await log.publish(STREAM, "step", {})
    (later,) = expires()
    assert 7 * DAY - 5 < later / 1000 - now < 7 * DAY + 120
    await log.publish(STREAM, "step", {})
    assert expires() == {later}  # nothing is written to put it off by a moment
    await short.close()


async def test_streams_of_other_programs_stay(log: RedisTokenLog, admin: Any) -> None:
    """Trimming touches nothing but token logs."""
    admin.set("theirs", "1")
    admin.hset("other:{a}:state", "touched", 1)
    await log.publish(STREAM, "final", {})
    assert await log.trim(-10) == 1
    assert set(admin.scan_iter("*")) == {b"theirs", b"other:{a}:state"}
