"""Signing in at the codec server with a browser: the Web UI sends its cookie along, and cannot be given a key.

The key or token stays in this process's memory and is looked up again for each request, so a revoked one ends. The
browser holds a random number that stands for it here and nowhere else. Pages of other origins than the Web UI's get
nothing for it.
"""

from __future__ import annotations

import secrets
from html import escape
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from dialogue.faults import AccessFault, Forbidden, Unauthenticated
from gateway.access import LONGEST, Access
from gateway.caller import Caller
from gateway.codec_roles import person
from gateway.json_body import read_body
from records.short_memory import ShortMemory

__all__ = ["COOKIE", "SignIn"]

COOKIE = "parley_codec"
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem; }
label { display: block; } input { font: inherit; width: 100%; box-sizing: border-box; } button { font: inherit; }
"""
_WORDS = {
    "en": {
        "title": "Codec server",
        "ask": "Sign in with a key that has a role here, and the Temporal Web UI shows you what the role allows.",
        "key": "Key or token",
        "in": "Sign in",
        "out": "Sign out",
        "who": "Signed in for tenant {tenant} as {role}.",
        "next": "In the Web UI open the codec server's settings (the glasses, top right), choose the browser's own "
        "endpoint, enter {url} and switch on “Include cross-origin credentials”.",
    },
    "zh": {
        "title": "编解码服务器",
        "ask": "用在此有角色的密钥登录，Temporal Web UI 即显示该角色允许看到的内容。",
        "key": "密钥或令牌",
        "in": "登录",
        "out": "退出登录",
        "who": "已为租户 {tenant} 以 {role} 登录。",
        "next": "在 Web UI 中打开编解码服务器的设置（右上角的眼镜），选择浏览器自己的端点，填入 {url}，"
        "并打开 “Include cross-origin credentials”。",
    },
}


class SignIn:
    """``origins``: the Web UI's. ``url``: this server's, as browsers reach it."""

    def __init__(self, access: Access, origins: tuple[str, ...], url: str, hours: float) -> None:
        self._access = access
        self._origins = frozenset(origins)
        self._url = url
        self._seconds = hours * 3600
        self._keys = ShortMemory[str, str](self._seconds)

    def routes(self) -> list[Route]:
        return [
            Route("/", self._page),
            Route("/sign-in", self._sign_in, methods=["POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
        ]

    async def caller(self, request: Request) -> Caller:
        """Of a request's key, token or cookie. Raises Unauthenticated, Forbidden, IssuerUnavailable,
        RecordsUnavailable."""
        if self._access.shown(request.headers) is not None:
            return await self._access.caller(request.headers)
        key = self._keys.get(request.cookies.get(COOKIE, ""))
        if key is None:
            raise Unauthenticated(
                "Authorization: the codec server shows nothing without a key. Send Authorization: Bearer KEY, or sign "
                f"in at {self._url}/ with this browser.",
                field="Authorization",
            )
        if request.headers.get("Origin") not in self._origins:
            raise Forbidden("Origin: a browser's sign-in holds for the pages of codec_server.ui_origins alone.")
        return await self._access.caller_of_key(key)

    async def _page(self, request: Request) -> Response:
        key = self._keys.get(request.cookies.get(COOKIE, ""))
        caller = None
        if key is not None:
            try:
                caller = await self._access.caller_of_key(key)
            except AccessFault:  # it was revoked meanwhile
                self._keys.drop(request.cookies[COOKIE])
        return self._shown(request, caller)

    async def _sign_in(self, request: Request) -> Response:
        self._refuse_other_pages(request)
        body = await read_body(request, 4 * LONGEST, setting="the key's length")
        key = parse_qs(body.decode("utf-8", "replace")).get("key", [""])[0].strip()
        try:
            person(await self._access.caller_of_key(key))
        except AccessFault as fault:
            return self._shown(request, None, fault)
        session = secrets.token_urlsafe(32)
        self._keys.put(session, key)
        answer = RedirectResponse(".", 303)  # a proxy may have it below a path
        secure = self._url.startswith("https://")
        answer.set_cookie(COOKIE, session, round(self._seconds), httponly=True, secure=secure, samesite="strict")
        return answer

    async def _sign_out(self, request: Request) -> Response:
        self._refuse_other_pages(request)
        self._keys.drop(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse(".", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    def _refuse_other_pages(self, request: Request) -> None:
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc not in (
            request.headers.get("Host"),
            urlsplit(self._url).netloc,
        ):
            raise Forbidden("Origin: only this server's own page signs in and out.")

    def _shown(self, request: Request, caller: Caller | None, fault: AccessFault | None = None) -> Response:
        language = "zh" if request.headers.get("Accept-Language", "").lower().startswith("zh") else "en"
        words = _WORDS[language]
        if caller is None:
            told = f'<p role="alert">{escape(fault.message)}</p>' if fault else f"<p>{words['ask']}</p>"
            body = (
                f'{told}<form method="post" action="sign-in"><label>{words["key"]} '
                '<input name="key" type="password" autocomplete="off" required></label>'
                f"<p><button>{words['in']}</button></p></form>"
            )
        else:
            who = words["who"].format(tenant=caller.tenant, role=person(caller).removeprefix("codec:"))
            body = (
                f"<p>{escape(who)}</p><p>{escape(words['next'].format(url=self._url))}</p>"
                f'<form method="post" action="sign-out"><button>{words["out"]}</button></form>'
            )
        html = (
            f'<!doctype html><html lang="{language}"><meta charset="utf-8"><title>{words["title"]}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style><main>'
            f"<h1>{words['title']}</h1>{body}</main></html>"
        )
        # no-referrer would have the browser send its forms without their origin
        headers = {"Content-Security-Policy": _PAGE_POLICY, "Referrer-Policy": "same-origin"}
        return HTMLResponse(html, fault.status if fault else 200, headers)
