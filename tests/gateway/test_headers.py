"""What browsers are told, and which pages may call."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.edge import edge
from settings.schema import GatewaySettings, GatewayTlsSettings
from tests.gateway.conftest import http

SHOP = "https://shop.example"


def app_with(settings: GatewaySettings) -> Starlette:
    async def page(_: Request) -> Response:
        return PlainTextResponse("here", headers={"Referrer-Policy": "same-origin"})

    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("here")
        await websocket.close()

    return Starlette(routes=[Route("/", page), WebSocketRoute("/stream", stream)], middleware=edge(settings))


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


async def test_without_origins_no_page_may_call() -> None:
    """The default."""
    assert "access-control-allow-origin" not in (await answer(GatewaySettings(), Origin=SHOP)).headers


@pytest.mark.parametrize(
    ("cors", "origin", "taken"),
    [
        ((), None, True),
        ((), "http://testserver", True),
        ((), SHOP, False),
        ((), "null", False),
        ((SHOP,), SHOP, True),
        ((SHOP,), f"{SHOP}.evil.example", False),
        (("*",), "null", True),
    ],
)
def test_a_web_socket_is_for_known_origins(cors: tuple[str, ...], origin: str | None, taken: bool) -> None:
    """A browser asks nobody before it opens one, so a foreign page's is refused here."""
    client = TestClient(app_with(GatewaySettings(cors=cors)))
    headers = {"Origin": origin} if origin else {}
    if taken:
        with client.websocket_connect("/stream", headers=headers) as socket:
            assert socket.receive_text() == "here"
    else:
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/stream", headers=headers):
            pass
