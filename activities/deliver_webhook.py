"""After a one-shot's turn: tells the address that its caller gave, signed as Standard Webhooks has it
(standardwebhooks.com): ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import time

import httpx
from temporalio import activity

from dialogue.faults import SettingsFault, UnknownTenant, WebhookFailed, WebhookRefused
from dialogue.turn import DeliverWebhook, Reply
from policy.webhook_target import Target, check_target, resolved
from settings.schema import Settings, TenantSettings

__all__ = ["DeliverWebhookStep", "signature"]

SECONDS = 10.0
"""How long the receiver may take to connect, and then to answer."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - a form, no secret
_GONE = 410
_NOT_TOLD = {"tenant", "text_digest", "findings", "model_digest", "note", "steps"}
"""Of a reply: what is the site's own business."""


def signature(secret: bytes, id_: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``."""
    signed = hmac.digest(secret, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


class DeliverWebhookStep:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @activity.defn(name="deliver_webhook")
    async def deliver_webhook(self, request: DeliverWebhook) -> None:
        """Raises WebhookFailed, which is tried again, and WebhookRefused, which is not."""
        tenant = self._settings.tenants.get(request.reply.tenant)
        if tenant is None:
            raise UnknownTenant(f"tenant: there is no tenant {request.reply.tenant} any more.", field="tenant")
        target = check_target(request.url, tenant.webhook_hosts)
        body = _body(request.reply)
        id_, now = request.reply.workflow_id, int(time.time())
        headers = {"content-type": "application/json", "webhook-id": id_, "webhook-timestamp": str(now)}
        secret = self._secret(tenant)
        if secret is not None:
            headers["webhook-signature"] = signature(secret, id_, now, body)
        await _post(target, headers, body)

    def _secret(self, tenant: TenantSettings) -> bytes | None:
        """Read each time, so that a new one holds at once. Raises SettingsFault."""
        if tenant.webhook_secret_env is not None:
            text = os.environ.get(tenant.webhook_secret_env, "")
            place = f"webhook_secret_env: the variable {tenant.webhook_secret_env}"
        elif tenant.webhook_secret_file is not None:
            path = self._settings.resolve(tenant.webhook_secret_file)
            place = f"webhook_secret_file: {path}"
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                text = ""
        else:
            return None
        try:
            return _secret_bytes(text.strip())
        except ValueError:
            raise SettingsFault(f"{place} holds no secret: put a text or whsec_ and Base64 there.") from None


def _secret_bytes(text: str) -> bytes:
    """Raises ValueError where it is empty."""
    if text.startswith(SECRET_PREFIX):
        try:
            secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error as error:
            raise ValueError from error
    else:
        secret = text.encode()
    if not secret:
        raise ValueError
    return secret


def _body(reply: Reply) -> bytes:
    data = reply.model_dump(mode="json", exclude=_NOT_TOLD)
    told = {"type": "dialogue.answered", "timestamp": reply.answered_at, "data": data}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


async def _post(target: Target, headers: dict[str, str], body: bytes) -> None:
    """To the address that was checked, under the name that was given. What the receiver says is not read."""
    url = target.url.copy_with(host=await resolved(target))
    headers = {**headers, "host": target.url.netloc.decode()}
    extensions = {"sni_hostname": target.url.host}
    try:
        async with (
            httpx.AsyncClient(timeout=SECONDS, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", url, content=body, headers=headers, extensions=extensions) as response,
        ):
            status = response.status_code
    except httpx.HTTPError as error:
        raise WebhookFailed(f"webhook.url: {target.url.host} cannot be reached: {type(error).__name__}.") from None
    if 300 <= status < 400 or status == _GONE:
        raise WebhookRefused(f"webhook.url: {target.url.host} answered {status}. Redirects are not followed.")
    if not 200 <= status < 300:
        raise WebhookFailed(f"webhook.url: {target.url.host} answered {status}.")
