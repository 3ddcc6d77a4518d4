"""What browsers are told, and which pages may call."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.edge import edge
from settings.schema import GatewaySettings, GatewayTlsSettings
from tests.gateway.conftest import http

SHOP = "https://shop.example"
OPENAI = ",".join(
    (
        *("authorization", "content-type", "openai-organization", "openai-project", "x-stainless-arch"),
        *("x-stainless-helper-method", "x-stainless-lang", "x-stainless-os", "x-stainless-package-version"),
        *("x-stainless-retry-count", "x-stainless-runtime", "x-stainless-runtime-version", "x-stainless-timeout"),
    )
)
"""What openai 7.57.0 sends from a browser when it streams."""


def app_with(settings: GatewaySettings) -> Starlette:
    async def page(_: Request) -> Response:
        return PlainTextResponse("here", headers={"Referrer-Policy": "same-origin"})

    return Starlette(routes=[Route("/", page)], middleware=edge(settings))


async def answer(settings: GatewaySettings, method: str = "GET", path: str = "/", **headers: str) -> httpx.Response:
    async with http(app_with(settings)) as client:
        return await client.request(method, path, headers=headers)


@pytest.mark.parametrize("path", ["/", "/nowhere"])
async def test_every_answer_has_them(path: str) -> None:
    """Also one that says that there is nothing; what an answer sets itself stays."""
    headers = (await answer(GatewaySettings(), path=path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["content-security-policy"] == "frame-ancestors 'none'"
    assert headers["referrer-policy"] == ("same-origin" if path == "/" else "no-referrer")
    assert "strict-transport-security" not in headers


async def test_with_tls_browsers_never_come_in_clear_again(tmp_path: object) -> None:
    """HSTS is said over TLS alone."""
    tls = GatewayTlsSettings(cert="cert.pem", key="key.pem")  # type: ignore[arg-type]
    assert "max-age" in (await answer(GatewaySettings(tls=tls))).headers["strict-transport-security"]


async def test_a_page_of_a_named_origin_may_call() -> None:
    """Its preflight is answered with what it may send; another's is refused, and gets no leave to read."""
    settings = GatewaySettings(cors=(SHOP,))
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    good = await answer(settings, "OPTIONS", Origin=SHOP, **asked)
    assert (good.status_code, good.headers["access-control-allow-origin"]) == (200, SHOP)
    assert "access-control-allow-credentials" not in good.headers
    assert (await answer(settings, "OPTIONS", Origin="https://evil.example", **asked)).status_code == 400
    read = await answer(settings, Origin=SHOP)
    assert "X-Request-Id" in read.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in (await answer(settings, Origin="https://evil.example")).headers
    assert (await answer(GatewaySettings(cors=("*",)), Origin=SHOP)).headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("names", ["x-api-key,content-type", "last-event-id,authorization", OPENAI])
async def test_a_page_may_send_what_clients_send(names: str) -> None:
    """And reads in the answer whether to send it again."""
    settings = GatewaySettings(cors=(SHOP,))
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": names}
    told = await answer(settings, "OPTIONS", Origin=SHOP, **asked)
    assert (told.status_code, told.text) == (200, "OK")
    exposed = (await answer(settings, Origin=SHOP)).headers["access-control-expose-headers"].split(", ")
    assert {"X-Request-Id", "Retry-After", "X-Should-Retry"} <= set(exposed)


async def test_without_origins_no_page_may_call() -> None:
    """The default."""
    assert "access-control-allow-origin" not in (await answer(GatewaySettings(), Origin=SHOP)).headers
