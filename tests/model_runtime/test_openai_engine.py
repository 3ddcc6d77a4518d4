"""The engine behind HTTP, against a real server that misbehaves: each trouble is a fault of its own, and costs no
other answer anything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from dialogue.faults import (
    EngineBusy,
    EngineHung,
    EngineLost,
    ModelCorrupt,
    ModelFault,
    ModelMissing,
    OutOfMemory,
    ParleyFault,
    PromptTooLong,
    UnknownModel,
)
from model_runtime.keeper import EngineKeeper
from model_runtime.openai_client import CompletionsClient
from model_runtime.openai_engine import OpenAIEngine
from model_runtime.prepare import prepare_model
from model_runtime.protocol import GenerationRequest, Sampling
from model_runtime.slot_engine import SlotEngine
from model_runtime.tokenizer import Tokenizer
from tests.model_runtime.conftest import collect, until
from tests.support.completions_server import Behaviour, CompletionsServer, completions_server
from tests.support.ports import free_port
from tests.support.tiny_model import VOCABULARY, tiny_model

KEY = "sk-secret-of-the-tests"


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    prepare_model(str(tiny_model(folder / "checkpoint")), name="tiny", method="bf16", folder=folder)
    return folder / "tiny-bf16"


@pytest.fixture(scope="module")
def running_server(tiny_folder: Path) -> Iterator[CompletionsServer]:
    with completions_server(tiny_folder, key=KEY) as server:
        yield server


@pytest.fixture
async def server(running_server: CompletionsServer) -> CompletionsServer:
    """It behaves, whatever the test before told it."""
    await running_server.behave()
    return running_server


@pytest.fixture
async def engine(server: CompletionsServer, tiny_folder: Path, key_file: Path) -> AsyncIterator[OpenAIEngine]:
    engine = _engine(server, tiny_folder, key_file)
    await engine.start()
    await server.behave()
    yield engine
    await engine.close()


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "key"
    path.write_text(f"{KEY}\n")
    return path


def _engine(server: CompletionsServer, folder: Path, key_file: Path, **more: object) -> OpenAIEngine:
    options = {"base_url": server.url, "rows": 4, "widths": (128,), "api_key_file": key_file}
    return OpenAIEngine(folder, **{**options, **more})  # type: ignore[arg-type]


def _ask(id_: str = "a", text: str = "abc what", prefix: tuple[int, ...] = (), **sampling: object) -> GenerationRequest:
    settings = Sampling(**{"max_new_tokens": 16, "watch": False, **sampling})  # type: ignore[arg-type]
    return GenerationRequest(id_, tuple(VOCABULARY.index(sign) for sign in text), prefix, settings)


# tokens


async def test_drawn_token_ids_are_those_of_the_engine_behind_it(engine: OpenAIEngine, tiny_folder: Path) -> None:
    """Over HTTP, the same tokens come as from the engine that the server holds, sampled too."""
    inner = SlotEngine(tiny_folder, rows=4, widths=(64, 128), threads=1)
    await inner.start()
    request = _ask(temperature=1.0, seed=11, max_new_tokens=60)
    assert await collect(engine, request) == await collect(inner, request)
    await inner.close()


async def test_a_trace_goes_on_to_the_server(server: CompletionsServer, engine: OpenAIEngine) -> None:
    """Where the request belongs to one; a request without it says nothing."""
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    await collect(engine, replace(_ask(), traceparent=trace))
    await collect(engine, _ask())
    assert [body.get("traceparent") for body in await server.behave()] == [trace, None]


@pytest.mark.parametrize("behaviour", [Behaviour(ids=False), Behaviour(strict=True)], ids=["silent", "strict"])
async def test_without_token_ids_the_text_is_encoded_again(
    server: CompletionsServer, engine: OpenAIEngine, tiny_folder: Path, key_file: Path, behaviour: Behaviour
) -> None:
    """A server that gives no ids, or refuses to be asked for them: the description says so, and the text is the same,
    with signs at which lines are cut elsewhere."""
    for seed in range(40):  # until the sign is drawn
        request = _ask(temperature=1.0, seed=seed, max_new_tokens=100)
        drawn, finish = await collect(engine, request)
        if VOCABULARY.index("\u2028") in drawn:
            break
    else:
        pytest.fail("no seed draws it")
    await server.behave(behaviour)
    other = _engine(server, tiny_folder, key_file)
    await other.start()
    described, usual = await other.describe(), await engine.describe()
    assert (described.token_ids, usual.token_ids) == ("text", "drawn")
    assert described.engine_digest != usual.engine_digest
    tokenizer = Tokenizer.load(tiny_folder)
    encoded, same = await collect(other, request)
    assert (tokenizer.decode(encoded), same) == (tokenizer.decode(drawn), finish)
    assert "return_token_ids" not in (await server.behave())[-1]
    await other.close()


async def test_only_what_every_server_takes_is_sent(engine: OpenAIEngine, server: CompletionsServer) -> None:
    """The request's own bounds, less the prefix; another seed where the draws begin within the answer."""
    prefix = _ask(text="what is").prompt_ids
    await collect(engine, _ask("whole", "Hello", seed=2**40 + 3, top_p=0.9, temperature=0.5))
    await collect(engine, _ask("rest", "Hello", prefix, seed=3, stop_token_ids=(7,)))
    whole, rest = await server.behave()
    assert whole == {
        "model": "tiny",
        "prompt": list(_ask(text="Hello").prompt_ids),
        "max_tokens": 16,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 3,
        "stream": True,
        "return_token_ids": True,
    }
    assert rest["prompt"] == [*whole["prompt"], *prefix]
    assert rest["max_tokens"] == 16 - len(prefix)
    assert rest["stop_token_ids"] == [7]
    assert rest["seed"] not in (3, 2**40 + 3)
    assert 0 <= rest["seed"] < 2**31


async def test_reasoning_is_closed_by_a_second_request(engine: OpenAIEngine, server: CompletionsServer) -> None:
    """Where the budget is spent with reasoning open, the stream is left and the answer goes on behind the tag; where
    it is closed in time, one request does."""
    closing = (5, 4, 5, 5)
    ids, _ = await collect(engine, _ask("open", thinking_budget=4, max_new_tokens=12))
    first, second = await server.behave()
    assert first["max_tokens"] == 12
    assert second["prompt"] == [*first["prompt"], *ids[:4], *closing]
    assert second["max_tokens"] == 12 - 8
    await until(lambda: _idle(server))
    await collect(engine, _ask("closed", prefix=(60, *closing), thinking_budget=6, max_new_tokens=12))
    assert len(await server.behave()) == 1


async def test_connections_are_used_again(engine: OpenAIEngine) -> None:
    """Answers one after another go over one connection."""
    for index in range(3):
        await collect(engine, _ask(f"k{index}"))
    assert engine._client is not None
    (connection,) = engine._client._http._transport._pool.connections  # type: ignore[attr-defined]
    assert "IDLE" in repr(connection)


@pytest.mark.parametrize(
    ("told", "logprobs"),
    [
        ({"token_logprobs": [-0.5, -2]}, (-0.5, -2)),  # vLLM
        ({"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": None}]}, (-0.5, None)),  # llama.cpp
        ({"token_logprobs": [-0.5]}, None),
        ({"tokens": ["a", "b"]}, None),
        (None, None),
    ],
)
def test_logprobs_are_read_as_servers_tell_them(told: dict[str, Any] | None, logprobs: tuple[Any, ...] | None) -> None:
    """One for each token id, or none at all."""
    event = {"choices": [{"text": "ab", "token_ids": [4, 5], "finish_reason": None, "logprobs": told}]}
    piece = CompletionsClient("http://127.0.0.1:1")._piece(event)
    assert piece is not None
    assert (piece.token_ids, piece.logprobs) == ((4, 5), logprobs)


async def _idle(server: CompletionsServer) -> bool:
    return await server.busy() == 0


# troubles


@pytest.mark.parametrize(
    ("behaviour", "fault", "said"),
    [
        (Behaviour(fault="drop", after=3), EngineLost, "broke the connection"),
        (Behaviour(fault="drop"), EngineLost, "broke the connection"),
        (Behaviour(fault="end", after=3), EngineLost, "in the middle"),
        (Behaviour(fault="malformed", after=3), EngineLost, r"no completion: an event of \d+ bytes, not JSON"),
        (Behaviour(fault="foreign", after=3), EngineLost, r"no completion: choices\.0\.text is of type list"),
        (Behaviour(fault="cut", after=3), EngineLost, r"no completion: an event of \d+ bytes, not JSON"),
        (Behaviour(fault="error", after=3), EngineLost, r"failed \(500: server_error\)"),
        (Behaviour(fault="abort", after=3), EngineLost, "'abort'"),
        (Behaviour(status=429, message="too many"), EngineBusy, "no room now .429: too many"),
        (Behaviour(status=503, message="loading"), EngineBusy, "no room now .503: loading"),
        (Behaviour(status=500, message="CUDA error"), EngineLost, "500: CUDA error"),
        (Behaviour(status=404, message="The model `tiny` does not exist."), UnknownModel, r"model\.served_name"),
        (Behaviour(status=401, message=f"Incorrect API key: {KEY}"), ModelFault, r"model\.api_key_env"),
        (Behaviour(status=403), ModelFault, r"model\.api_key_file"),
        (Behaviour(status=400, message="maximum context length is 99 tokens"), PromptTooLong, r"model\.widths"),
        (Behaviour(status=400, message="temperature is odd"), ModelFault, "400: temperature is odd"),
        (Behaviour(status=307), ModelFault, "307"),
    ],
    ids=lambda value: value.fault or str(value.status) if isinstance(value, Behaviour) else None,
)
async def test_each_trouble_is_a_fault_of_its_own(
    engine: OpenAIEngine, server: CompletionsServer, behaviour: Behaviour, fault: type[ParleyFault], said: str
) -> None:
    """One line that names the server and the way out, never the key; what was made before stays, and the next request
    is answered as if nothing had been."""
    whole, finish = await collect(engine, _ask("before"))
    await server.behave(behaviour)
    made: list[int] = []

    async def read() -> None:
        async for event in engine.submit(_ask("trouble")):
            made.extend(event.token_ids)

    with pytest.raises(fault, match=said) as caught:
        await read()
    assert type(caught.value) is fault
    assert "\n" not in caught.value.message
    assert server.url in caught.value.message or "server" in caught.value.message
    assert KEY not in caught.value.message
    assert made == whole[: behaviour.after]
    await server.behave()
    assert await collect(engine, _ask("trouble")) == (whole, finish)
    await until(lambda: _idle(server))


@pytest.mark.parametrize("fault", ["cut", "malformed", "foreign", "error"])
async def test_no_word_of_an_answer_is_told(
    engine: OpenAIEngine, server: CompletionsServer, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a stream breaks within an event that holds some: not by the fault, which Temporal keeps, nor in the log."""
    caplog.set_level(logging.DEBUG)
    words = "Dear Ms Miller, your account"
    await server.behave(Behaviour(fault=fault, after=1, message=words))
    with capture_logs() as lines, pytest.raises(EngineLost) as caught:
        await collect(engine, _ask())
    with capture_logs() as kept:
        EngineKeeper(engine).lost(caught.value)
    assert kept[0]["reason"] == caught.value.message
    assert words.split()[0] not in f"{caught.value.message} {caught.value.details} {lines} {kept} {caplog.text}"


async def test_what_nobody_foresaw_is_told_by_its_type(engine: OpenAIEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its message may hold the text that could not be read."""

    def fails(piece: object) -> None:
        raise ValueError(f"no token for {piece}")

    monkeypatch.setattr(engine, "_ids", fails)
    with pytest.raises(EngineLost, match=r"the answer could not be read: ValueError$"):
        await collect(engine, _ask())


def test_no_byte_that_is_no_http_is_told() -> None:
    """The library shows those that it cannot read, which may be an answer's."""
    client = CompletionsClient("http://127.0.0.1:1")
    with pytest.raises(EngineLost, match=r"broke the connection \(illegal chunk header\)$"), client._faults():
        raise httpx.RemoteProtocolError("illegal chunk header: bytearray(b'Dear Ms Miller')")


@pytest.mark.parametrize(("after", "said"), [(0, r"0\.2 s.*first_token_seconds"), (3, r"0\.4 s.*hang_seconds")])
async def test_no_token_in_time_is_a_hang(
    engine: OpenAIEngine, server: CompletionsServer, after: int, said: str
) -> None:
    """The first token and each other have a bound of their own; comments on the stream are no tokens."""
    engine._first_seconds, engine._next_seconds = 0.2 if after == 0 else 60, 0.4
    await server.behave(Behaviour(fault="stall", after=after))
    with pytest.raises(EngineHung, match=f"no token for {said}"):
        await collect(engine, _ask())
    await until(lambda: _idle(server))


async def test_a_lost_stream_costs_its_neighbours_nothing(engine: OpenAIEngine, server: CompletionsServer) -> None:
    """The keeper does not start an engine again of which one stream alone was lost."""
    keeper = EngineKeeper(engine)
    await keeper.start()
    whole = await collect(engine, _ask("before", max_new_tokens=80))
    neighbour = engine.submit(_ask("neighbour", max_new_tokens=80))
    made = list((await anext(neighbour)).token_ids)
    await server.behave(Behaviour(fault="drop", after=2))
    with pytest.raises(EngineLost) as caught:
        await collect(engine, _ask("lost"))
    keeper.lost(caught.value)
    assert keeper.engine is engine
    async for event in neighbour:
        made += event.token_ids
    assert (made, event.finish) == whole
    assert keeper.restarts == 0


async def test_a_server_that_comes_back_is_asked_who_it_is(tiny_folder: Path, key_file: Path) -> None:
    """A killed server costs each running answer one EngineLost; what serves in its place is described anew, and the
    answer goes on from its tokens."""
    with completions_server(tiny_folder, key=KEY) as server:
        engine = _engine(server, tiny_folder, key_file)
        await engine.start()
        before = await engine.describe()
        request = _ask(max_new_tokens=100)
        whole, _ = await collect(engine, request)
        made: list[int] = []

        async def die_on_the_way() -> None:
            async for event in engine.submit(request):
                made.extend(event.token_ids)
                if len(made) == 5:
                    server.kill()

        with pytest.raises(EngineLost, match="broke the connection"):
            await die_on_the_way()
        for ask in (collect(engine, request), engine.describe()):
            with pytest.raises(EngineLost, match=r"cannot be reached.*model\.base_url"):
                await ask
        server.start()
        assert await engine.describe() == before
        await server.behave(Behaviour(version="2.0"))
        resumed, _ = await collect(engine, _ask(prefix=tuple(made), max_new_tokens=100))
        assert resumed[: len(made)] == whole[: len(made)]
        assert len(resumed) == 100
        await engine.close()


async def test_leaving_frees_the_row_at_the_server(engine: OpenAIEngine, server: CompletionsServer) -> None:
    """Whoever leaves or cancels closes the stream, and the server ends the work."""
    stream = engine.submit(_ask("left", max_new_tokens=100))
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    await until(lambda: _idle(server))
    await server.behave(Behaviour(fault="stall", after=1))
    stream = engine.submit(_ask("cancelled", max_new_tokens=100))
    await anext(stream)
    await engine.cancel("cancelled")
    assert [event.finish async for event in stream] == ["cancelled"]
    await until(lambda: _idle(server))


async def test_readers_that_are_cancelled_twice_leave_nothing(engine: OpenAIEngine, server: CompletionsServer) -> None:
    """At whatever moment they are, and also while they leave: no row, no id and no connection is lost."""
    for steps in range(0, 40, 2):
        reader = asyncio.create_task(collect(engine, _ask("gone", max_new_tokens=100)))
        for _ in range(steps):
            await asyncio.sleep(0)
        reader.cancel()
        await asyncio.sleep(0)
        reader.cancel()
        await asyncio.wait([reader])
        assert reader.cancelled()
        await until(lambda: not engine._busy)
    assert not engine._running
    assert (await engine.capacity()).waiting == 0
    await until(lambda: _idle(server))
    assert engine._client is not None
    assert "ACTIVE" not in repr(engine._client._http._transport._pool.connections)  # type: ignore[attr-defined]
    assert (await collect(engine, _ask("gone")))[1] == "length"


async def test_too_many_that_wait_are_refused(server: CompletionsServer, tiny_folder: Path, key_file: Path) -> None:
    """Beyond its rows and those that may wait, a request raises OutOfMemory."""
    engine = _engine(server, tiny_folder, key_file, rows=1, max_waiting=1)
    await engine.start()
    first = engine.submit(_ask("first", max_new_tokens=100))
    await anext(first)
    second = asyncio.create_task(collect(engine, _ask("second")))
    await until(lambda: len(engine._running) == 2)
    with pytest.raises(OutOfMemory, match="wait for a row"):
        await collect(engine, _ask("third"))
    await first.aclose()  # type: ignore[attr-defined]
    assert (await second)[1] == "length"
    await engine.close()


# starting


async def test_a_start_tells_what_is_wrong(
    server: CompletionsServer, tiny_folder: Path, key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody at the address, another model, no key, a strange key, no folder: each names its setting."""

    async def fails(fault: type[ParleyFault], said: str, **options: object) -> None:
        with pytest.raises(fault, match=said) as caught:
            await _engine(server, tiny_folder, key_file, **options).start()
        assert KEY not in str(caught.value)

    await fails(EngineLost, "cannot be reached", base_url=f"http://127.0.0.1:{free_port()}")
    await fails(ModelFault, r"lists no models.*model\.base_url", base_url=f"{server.url}/elsewhere")
    await fails(UnknownModel, r"no model 'other' but tiny.*model\.served_name", served_name="other")
    await fails(ModelFault, r"API key \(401\)", api_key_file=None)
    await fails(ModelFault, r"^model\.api_key_env: the variable NO_KEY is not set", api_key_env="NO_KEY")
    await fails(ModelFault, r"^model\.api_key_file: .* cannot be read", api_key_file=tmp_path / "none")
    monkeypatch.setenv("A_KEY", f"{KEY}\n{KEY}")
    await fails(ModelFault, r"^model\.api_key_env: .*no key", api_key_env="A_KEY")
    with pytest.raises(ModelMissing):
        await _engine(server, tmp_path, key_file).start()
    monkeypatch.setenv("A_KEY", KEY)
    engine = _engine(server, tiny_folder, key_file, api_key_env="A_KEY", base_url=f"{server.url}/v1/")
    await engine.start()
    assert (await engine.describe()).device == server.url
    await engine.close()


async def test_a_damaged_folder_is_not_used(
    server: CompletionsServer, tiny_folder: Path, key_file: Path, tmp_path: Path
):
    """A tokenizer that differs from its manifest would encode other prompts than were meant."""
    import shutil

    folder = shutil.copytree(tiny_folder, tmp_path / "copy")
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("的", "地", 1))
    with pytest.raises(ModelCorrupt, match=r"tokenizer\.json"):
        await _engine(server, folder, key_file).start()


async def test_the_only_model_is_found_under_any_name(
    server: CompletionsServer, tiny_folder: Path, key_file: Path
) -> None:
    """A server that serves one model is taken to serve this one; its name and version are part of the digest."""
    digests = set()
    for behaviour in (Behaviour(), Behaviour(model="/models/tiny"), Behaviour(version="2"), Behaviour(version=None)):
        await server.behave(behaviour)
        engine = _engine(server, tiny_folder, key_file)
        await engine.start()
        assert (await collect(engine, _ask()))[1] == "length"
        digests.add((await engine.describe()).engine_digest)
        await engine.close()
    assert len(digests) == 4


async def test_the_key_is_in_no_log(
    server: CompletionsServer, tiny_folder: Path, key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even where everything is logged."""
    caplog.set_level(logging.DEBUG)
    engine = _engine(server, tiny_folder, key_file)
    await engine.start()
    await server.behave(Behaviour(fault="malformed", after=1))
    with pytest.raises(EngineLost):
        await collect(engine, _ask())
    await engine.close()
    assert "/v1/completions" in caplog.text
    assert KEY not in caplog.text
