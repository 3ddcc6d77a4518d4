"""The codec server: who sees what of a payload, what programs may do, and what bad input is told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.converter import WorkflowSerializationContext

from dialogue.faults import SettingsFault
from gateway.codec_serve import serve_codec, ui_origins
from gateway.codec_sign_in import COOKIE
from records.codec import KEY_ID, is_sealed
from records.database import writing
from records.payload_looks import PayloadLooks
from records.tables import payload_looks
from settings.schema import AccessSettings, CodecServerSettings, OidcSettings, Settings, TemporalSettings
from tests.gateway.codec_site import UI, CodecSite, as_json, codec_site, payload_of, text_of
from tests.support.issuer import AUDIENCE, Issuer

TEXT = {"question": "Where is my order zebra-4711? 订单在哪里？", "turn": 1}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[CodecSite]:
    async with codec_site(tmp_path) as site:
        yield site


async def test_roles_see_texts_or_sizes(site: CodecSite) -> None:
    """A reviewer and an auditor read; an operator is told encoding, kind and size, and no letter of it."""
    sealed = await site.sealed(TEXT)
    plain = payload_of("in clear in Temporal")
    for role in ("codec:reviewer", "codec:auditor"):
        shown = await site.decoded("/decode", [sealed, plain], await site.key(role))
        assert [text_of(each) for each in shown] == [TEXT, "in clear in Temporal"]
    operator = await site.key("codec:operator")
    shape, as_it_was = await site.decoded("/decode", [sealed, plain], operator)
    size = len(payload_of(TEXT).data)
    assert text_of(shape) == {"sealed": True, "bytes": size, "encoding": "json/plain", "value": "object of 2"}
    assert as_it_was == plain
    both = await site.decoded("/decode", [sealed], await site.key("codec:operator", "codec:reviewer"))
    assert text_of(both[0]) == TEXT


async def test_nothing_is_shown_without_a_role(site: CodecSite) -> None:
    """401 without a key and with a revoked one, 403 for scopes that are no role; admin is none."""
    sealed = [await site.sealed(TEXT)]
    none = await site.ask("/decode", sealed, {})
    assert (none.status_code, none.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert none.text.count("\n") == 1
    assert (await site.ask("/decode", sealed, {"Authorization": "Bearer plk_nothing"})).status_code == 401
    for scopes in (("chat",), ("admin",), ("operate", "review"), ("codec:service",)):
        answer = await site.ask("/decode", sealed, await site.key(*scopes))
        assert answer.status_code == 403
        assert "codec:reviewer" in answer.text
    key, kept = await site.keys.create("acme", scopes=["codec:reviewer"])
    await site.keys.revoke(kept.id)
    assert (await site.ask("/decode", sealed, {"Authorization": f"Bearer {key}"})).status_code == 401


async def test_every_look_of_an_auditor_is_logged(site: CodecSite) -> None:
    """Who, when, which workflows and keys, how many payloads; a reviewer's and what did not open are not in it."""
    first, second = await site.sealed(TEXT), await site.sealed("b", "w-2", user="bob")
    foreign = await site.sealed("c", "w-3", tenant="other")
    key, kept = await site.keys.create("acme", scopes=["codec:auditor"])
    await site.decoded("/decode", [first, first, second, foreign], {"Authorization": f"Bearer {key}"})
    await site.decoded("/decode", [first], await site.key("codec:reviewer"))
    looks = await PayloadLooks(site.engine).of_tenant("acme")
    assert [(look.who, look.how, look.workflow_id, look.key_id, look.payloads) for look in looks] == [
        (kept.id, "key", "w-1", first.metadata[KEY_ID].decode(), 2),
        (kept.id, "key", "w-2", second.metadata[KEY_ID].decode(), 1),
    ]
    assert looks[0].timestamp.tzinfo is not None


async def test_an_auditors_looks_are_logged_whatever_else_their_key_may(site: CodecSite) -> None:
    """As a program's, under /TENANT/USER/, too; and where they cannot be logged, nothing is shown there."""
    sealed = await site.sealed(TEXT)
    key, kept = await site.keys.create("acme", scopes=["codec:service", "codec:auditor"])
    header = {"Authorization": f"Bearer {key}"}
    (opened,) = await site.decoded("/acme/ann/decode", [sealed], header)
    assert text_of(opened) == TEXT
    looks = await PayloadLooks(site.engine).of_tenant("acme")
    assert [(look.who, look.workflow_id, look.payloads) for look in looks] == [(kept.id, "w-1", 1)]
    async with writing(site.engine) as connection:
        await connection.run_sync(lambda sync: payload_looks.drop(sync))
    refused = await site.ask("/acme/ann/decode", [sealed], header)
    assert (refused.status_code, "zebra" in refused.text) == (503, False)
    assert await site.decoded("/acme/ann/decode", [sealed], await site.key("codec:service")) == [opened]


async def test_logged_looks_cannot_be_changed(site: CodecSite) -> None:
    """The database itself refuses to change or remove one."""
    looks = PayloadLooks(site.engine)
    await looks.add("k", "key", "acme", [("w-1", "key-1")])
    for statement in (update(payload_looks).values(who="nobody"), delete(payload_looks)):
        with pytest.raises(IntegrityError, match="lets none be changed"):
            async with writing(site.engine) as connection:
                await connection.execute(statement)
    assert [look.who for look in await looks.of_tenant("acme")] == ["k"]


async def test_a_look_that_cannot_be_logged_is_not_taken(site: CodecSite) -> None:
    """Without its row the auditor gets no text, and a line that says why."""
    sealed, auditor = await site.sealed(TEXT), await site.key("codec:auditor")
    async with writing(site.engine) as connection:
        await connection.run_sync(lambda sync: payload_looks.drop(sync))
    answer = await site.ask("/decode", [sealed], auditor)
    assert answer.status_code == 503
    assert "zebra" not in answer.text


async def test_a_tenants_key_opens_its_own_alone(site: CodecSite) -> None:
    """Another tenant's payload is told as such, and so is one of a workflow that nobody has spoken in yet."""
    theirs = await site.sealed(TEXT, "w-9", tenant="other")
    context = WorkflowSerializationContext(namespace="default", workflow_id="w-unbound")
    (nobodys,) = await site.protection.codec.with_context(context).encode([payload_of(TEXT)])
    shown = await site.decoded("/decode", [theirs, nobodys], await site.key("codec:reviewer"))
    assert "another tenant's" in text_of(shown[0])["why"]
    assert "nobody's yet" in text_of(shown[1])["why"]
    (opened,) = await site.decoded("/decode", [theirs], await site.key("codec:reviewer", tenant="other"))
    assert text_of(opened) == TEXT


async def test_what_does_not_open_says_why_and_the_rest_is_shown(site: CodecSite) -> None:
    """A forgotten person's, an unknown key's, a cut and a changed one: a line in its place."""
    kept, forgotten = await site.sealed(TEXT), await site.sealed("secret", "w-5", user="eve")
    await site.protection.keys.destroy("acme", "eve")
    cut = Payload(metadata=kept.metadata, data=kept.data[:-3])
    unknown = Payload(metadata={**kept.metadata, KEY_ID: b"0123456789abcdef"}, data=kept.data)
    strange = Payload(metadata={**kept.metadata, KEY_ID: b"\x00\xff'"}, data=kept.data)
    nameless = Payload(metadata={"encoding": kept.metadata["encoding"]}, data=kept.data)
    given = [kept, forgotten, cut, unknown, strange, nameless]
    for role in ("codec:reviewer", "codec:operator"):
        first, *others = await site.decoded("/decode", given, await site.key(role))
        assert (text_of(first) == TEXT) is (role == "codec:reviewer")
        told = [text_of(each)["why"] for each in others]
        for line, words in zip(
            told, ("forgotten", "cut", "never in this", "no key of ours", "names no key"), strict=True
        ):
            assert words in line
            assert "\n" not in line


# stored outside -------------------------------------------------------------------------------------


async def a_stored_one(site: CodecSite, text: str, workflow: str = "w-1") -> Payload:
    """The reference that stands in the history, as the SDK writes it."""
    await site.protection.keys.bind(workflow, "acme", "ann")
    converter = site.protection.data_converter.with_context(
        WorkflowSerializationContext(namespace="default", workflow_id=workflow)
    )
    (reference,) = await converter.encode([text])
    assert not is_sealed(reference)
    return reference


async def test_what_is_stored_outside_is_fetched(site: CodecSite) -> None:
    """By /decode, and where the Web UI asks for the references alone, later by /download."""
    text = "long " * 2000
    reference = await a_stored_one(site, text)
    reviewer, operator = await site.key("codec:reviewer"), await site.key("codec:operator")
    (shown,) = await site.decoded("/decode", [reference], reviewer)
    assert text_of(shown) == text
    (kept,) = await site.decoded("/decode?preserveStorageRefs=true", [reference], reviewer)
    assert kept == Payload(metadata=reference.metadata, data=reference.data)
    (fetched,) = await site.decoded("/download?preserveStorageRefs=true", [reference], reviewer)
    assert text_of(fetched) == text
    (shape,) = await site.decoded("/download", [reference], operator)
    assert text_of(shape) == f"sealed · text · {len(text) + 2} bytes"
    refused = await site.ask("/download", [await site.sealed(TEXT)], reviewer)
    assert refused.status_code == 422
    assert "/decode" in refused.text


async def test_what_is_not_in_the_store_says_so(site: CodecSite, tmp_path: Path) -> None:
    """A file that is gone, a store that this site does not have, a reference that is none."""
    gone = await a_stored_one(site, "long " * 2000)
    for file in (tmp_path / "payloads").rglob("*"):
        if file.is_file():
            file.unlink()
    elsewhere = Payload(metadata=gone.metadata, data=gone.data.replace(b"parley.local", b"parley.other"))
    broken = Payload(metadata=gone.metadata, data=b"{")
    shown = await site.decoded("/decode", [gone, elsewhere, broken], await site.key("codec:reviewer"))
    lines = [text_of(each)["why"] for each in shown]
    assert "is not in" in lines[0]
    assert all("encryption.external" in line for line in lines[1:])


# programs -------------------------------------------------------------------------------------------


async def test_a_program_seals_and_opens_for_its_users(site: CodecSite) -> None:
    """Under the user's own key: forgetting them ends what the program sealed, and it is told so."""
    service = await site.key("codec:service")
    (sealed,) = await site.decoded("/acme/ann/encode", [payload_of(TEXT)], service)
    assert is_sealed(sealed)
    assert sealed.metadata[KEY_ID].decode() == (await site.protection.keys.of_user("acme", "ann")).id
    (opened,) = await site.decoded("/acme/ann/decode", [sealed], service)
    assert opened == payload_of(TEXT)
    reference = await a_stored_one(site, "long " * 2000)
    (fetched,) = await site.decoded("/acme/ann/decode", [reference], service)
    assert text_of(fetched) == "long " * 2000
    await site.protection.keys.destroy("acme", "ann")
    gone = await site.ask("/acme/ann/decode", [sealed], service)
    assert gone.status_code == 410
    assert "forgotten" in gone.text


async def test_a_program_gets_nobody_elses(site: CodecSite) -> None:
    """Another user's, another tenant's, another name than the key's own, a person's key: a fault, never a line that it
    would take for a value."""
    bobs = await site.sealed(TEXT, "w-2", user="bob")
    theirs = await site.sealed(TEXT, "w-3", tenant="other")
    service = await site.key("codec:service")
    assert (await site.ask("/acme/ann/decode", [bobs], service)).status_code == 403
    assert (await site.ask("/acme/ann/decode", [theirs], service)).status_code == 403
    assert (await site.ask("/other/ann/decode", [theirs], service)).status_code == 404
    assert (await site.ask("/acme/a%20b/encode", [payload_of(1)], service)).status_code == 422
    assert (await site.ask("/acme/ann/encode", [bobs], service)).status_code == 422
    bound = await site.key("codec:service", user="ann")
    assert (await site.ask("/acme/bob/decode", [bobs], bound)).status_code == 403
    assert (await site.ask("/acme/bob/decode", [bobs], await site.key("codec:reviewer"))).status_code == 403
    cut = Payload(metadata=bobs.metadata, data=bobs.data[:-1])
    assert (await site.ask("/acme/bob/decode", [cut], service)).status_code == 500
    unknown = Payload(metadata={**bobs.metadata, KEY_ID: b"0123456789abcdef"}, data=bobs.data)
    assert (await site.ask("/acme/bob/decode", [unknown], service)).status_code == 410


async def test_a_person_seals_as_who_they_are(site: CodecSite) -> None:
    """An input that is typed in the Web UI is its writer's; what is long goes outside. Operators seal nothing."""
    carol = await site.key("codec:reviewer", user="carol")
    short, long = await site.decoded("/encode", [payload_of("go on"), payload_of("x" * 9000)], carol)
    assert short.metadata[KEY_ID].decode() == (await site.protection.keys.of_user("acme", "carol")).id
    assert not is_sealed(long)
    assert [text_of(each) for each in await site.decoded("/decode", [short, long], carol)] == ["go on", "x" * 9000]
    nobody = await site.ask("/encode", [payload_of(1)], await site.key("codec:reviewer"))
    assert (nobody.status_code, "/TENANT/USER/encode" in nobody.text) == (422, True)
    operator = await site.ask("/encode", [payload_of(1)], await site.key("codec:operator", user="carol"))
    assert operator.status_code == 403
    # as the CLI sends a query without an argument: an empty list is left out of protobuf's JSON
    for path in ("/encode", "/decode"):
        empty = await site.http.post(path, json={}, headers=await site.key("codec:operator"))
        assert (empty.status_code, empty.json()) == (200, {})
    assert (await site.http.post("/encode", json={}, headers=await site.key("chat"))).status_code == 403


# browsers -------------------------------------------------------------------------------------------


async def test_only_the_web_uis_pages_may_ask(site: CodecSite) -> None:
    """Its preflight is answered; another origin's is not, nor does one get the headers that let it read."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-namespace,content-type"}
    allowed = await site.http.options("/decode", headers={"Origin": UI, **asked})
    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == UI
    assert allowed.headers["Access-Control-Allow-Credentials"] == "true"
    refused = await site.http.options("/decode", headers={"Origin": "http://evil.example", **asked})
    assert refused.status_code == 400
    reviewer = await site.key("codec:reviewer")
    answer = await site.ask("/decode", [], {**reviewer, "Origin": "http://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers
    told = await site.ask("/decode", [], {"Origin": UI})
    assert (told.status_code, told.headers["Access-Control-Allow-Origin"]) == (401, UI)


async def test_a_browser_signs_in_for_the_web_ui(site: CodecSite) -> None:
    """The cookie opens for the Web UI's origin and no other, ends with the key, and never holds the key."""
    key, kept = await site.keys.create("acme", scopes=["codec:reviewer"])
    own = {"Origin": "http://127.0.0.1:8090"}
    wrong = await site.http.post("/sign-in", data={"key": "plk_wrong"}, headers=own)
    assert (wrong.status_code, COOKIE in wrong.cookies) == (401, False)
    done = await site.http.post("/sign-in", data={"key": key}, headers=own)
    assert done.status_code == 303
    cookie = done.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie  # noqa: PT018
    assert key not in cookie
    assert "acme as reviewer" in (await site.http.get("/")).text
    assert "以 reviewer 登录" in (await site.http.get("/", headers={"Accept-Language": "zh-CN"})).text
    sealed = await site.sealed(TEXT)
    (shown,) = await site.decoded("/decode", [sealed], {"Origin": UI})
    assert text_of(shown) == TEXT
    for other in ({}, {"Origin": "http://127.0.0.1:9999"}, {"Origin": "null"}):
        assert (await site.ask("/decode", [sealed], other)).status_code == 403
    assert (await site.http.post("/sign-out", headers={"Origin": "http://evil.example"})).status_code == 403
    await site.keys.revoke(kept.id)
    assert (await site.ask("/decode", [sealed], {"Origin": UI})).status_code == 401
    assert "<form" in (await site.http.get("/")).text


async def test_signing_out_ends_it(site: CodecSite) -> None:
    """Also for whoever kept the cookie."""
    key, _ = await site.keys.create("acme", scopes=["codec:operator"])
    await site.http.post("/sign-in", data={"key": key})
    kept = site.http.cookies[COOKIE]
    assert (await site.http.post("/sign-out")).status_code == 303
    answer = await site.ask("/decode", [], {"Origin": UI, "Cookie": f"{COOKIE}={kept}"})
    assert answer.status_code == 401


async def test_tokens_of_an_issuer_do_too(tmp_path: Path) -> None:
    """The scopes of a token are roles, and an auditor's look names its user."""
    with Issuer() as issuer:
        access = AccessSettings(mode="keys", oidc=OidcSettings(issuer=issuer.url, audience=AUDIENCE))
        private = issuer.add("k")
        async with codec_site(tmp_path, access) as site:
            sealed = await site.sealed(TEXT)
            token = issuer.token(private, "k", sub="dana", scope="codec:auditor chat")
            (shown,) = await site.decoded("/decode", [sealed], {"Authorization": f"Bearer {token}"})
            assert text_of(shown) == TEXT
            assert [(look.who, look.how) for look in await PayloadLooks(site.engine).of_tenant("acme")] == [
                ("dana", "oidc")
            ]
            token = issuer.token(private, "k", sub="dana", scope="chat")
            assert (await site.ask("/decode", [sealed], {"Authorization": f"Bearer {token}"})).status_code == 403


# bad input and settings -----------------------------------------------------------------------------


BAD_BODIES = (
    ("{", 400, "is not JSON"),
    ("[]", 400, "JSON object"),
    ('{"payloads": {}}', 422, "is no list"),
    ('{"payloads": [1]}', 422, "must be a list"),
    ('{"payloads": [{"data": "?"}]}', 422, "must be a list"),
    ('{"payloads": [{"data": "YWJ"}, {"data": "YWJjZ"}]}', 422, "must be a list"),
    ('{"payloads": [{"metadata": []}]}', 422, "must be a list"),
    ('{"payloads": [{"metadata": {"encoding": 5}}]}', 422, "must be a list"),
    ('{"payloads": [' + "[" * 40 + "]" * 40 + "]}", 400, "nested deeper"),
    ("x" * 20_000_000, 413, "codec_server.max_body"),
)


async def test_bad_bodies_are_told_in_a_line(site: CodecSite) -> None:
    """What is wrong and what to send, as text: the CLI prints it as it is."""
    headers = {**await site.key("codec:reviewer"), "Content-Type": "application/json"}
    for body, status, words in BAD_BODIES:
        answer = await site.http.post("/decode", content=body, headers=headers)
        told = (answer.status_code, answer.headers["Content-Type"], answer.text.count("\n"))
        assert told == (status, "text/plain; charset=utf-8", 1), body[:60]
        assert words in answer.text


async def test_other_addresses_and_methods(site: CodecSite) -> None:
    """404 and 405; /healthz is anybody's; fields that a newer protocol adds are passed over."""
    assert (await site.http.get("/decode")).status_code == 405
    assert (await site.http.post("/acme/decode")).status_code == 404
    assert (await site.http.get("/healthz")).text == "ok\n"
    reviewer = await site.key("codec:reviewer")
    body = {"payloads": [{**as_json([await site.sealed(TEXT)])[0], "later": [1]}], "more": 1}
    answer = await site.http.post("/decode", json=body, headers=reviewer)
    assert answer.status_code == 200


async def test_shapes_of_all_kinds(site: CodecSite) -> None:
    """An operator tells a text from a list, and sees nothing of either."""
    values: list[Any] = ["a zebra", [1, 2], 3, True, None, {"a": "zebra"}]
    sealed = [await site.sealed(value) for value in values]
    odd = Payload(metadata={"encoding": b"binary/plain"}, data=b"zebra")
    converter = dataclasses.replace(site.protection.data_converter, external_storage=None).with_context(
        WorkflowSerializationContext(namespace="default", workflow_id="w-1")
    )
    sealed += await converter.encode(
        [RawValue(odd), RawValue(Payload(metadata=payload_of(1).metadata, data=b"{zebra"))]
    )
    shown = [text_of(each) for each in await site.decoded("/decode", sealed, await site.key("codec:operator"))]
    assert shown[0] == "sealed · text · 9 bytes", "a text, as the Web UI wants a summary to be"
    kinds = ["list of 2", "number", "true or false", "null", "object of 1", None, None]
    assert [each.get("value") for each in shown[1:]] == kinds
    assert "zebra" not in json.dumps(shown)


async def test_a_site_that_encrypts_nothing_says_so(tmp_path: Path) -> None:
    """The server does not start."""
    with pytest.raises(SettingsFault, match=r"encryption\.provider: is none"):
        await serve_codec(Settings(data=tmp_path))


def test_the_web_uis_origin_is_known_from_its_address() -> None:
    """Where none is named; everybody's is none that can be named."""
    settings = Settings(temporal=TemporalSettings(web_ui="https://temporal.example/ui/"))
    assert ui_origins(settings) == ("https://temporal.example",)
    named = Settings(codec_server=CodecServerSettings(ui_origins=("https://a.example",)))
    assert ui_origins(named) == ("https://a.example",)
    with pytest.raises(ValueError, match="everybody"):
        CodecServerSettings(ui_origins=("*",))
    assert CodecServerSettings(host="::").reached_at(8090, tls=True) == "https://[::1]:8090"
    assert CodecServerSettings(url="https://codec.example/").reached_at(1, tls=False) == "https://codec.example"
