"""A server that speaks Google's Cloud KMS over gRPC: symmetric keys with versions, of which the primary one encrypts.

Google's own client (google-cloud-kms) talks to it over a real connection; the answers are those that its documentation
gives.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.cloud import kms
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcTransport

__all__ = ["RING", "dial_google", "google_kms"]

RING = "projects/parley/locations/europe-west3/keyRings/site"
_NONCE = 12


@dataclass
class _Key:
    versions: list[bytes] = field(default_factory=lambda: [os.urandom(32)])
    primary: int = 1


class _Keys:
    """The four methods that are asked."""

    def __init__(self, names: Sequence[str]) -> None:
        self._keys = {f"{RING}/cryptoKeys/{name}": _Key() for name in names}

    def encrypt(self, request: kms.EncryptRequest, context: grpc.ServicerContext) -> kms.EncryptResponse:
        key = self._key(request.name, "name", context)
        nonce = os.urandom(_NONCE)
        cipher = AESGCM(key.versions[key.primary - 1])
        text = cipher.encrypt(nonce, request.plaintext, request.additional_authenticated_data)
        # which version it was stands in the ciphertext
        return kms.EncryptResponse(
            name=f"{request.name}/cryptoKeyVersions/{key.primary}", ciphertext=bytes([key.primary]) + nonce + text
        )

    def decrypt(self, request: kms.DecryptRequest, context: grpc.ServicerContext) -> kms.DecryptResponse:
        key = self._key(request.name, "name", context)
        version, sealed = request.ciphertext[0], request.ciphertext[1:]
        try:
            text = AESGCM(key.versions[version - 1]).decrypt(
                sealed[:_NONCE], sealed[_NONCE:], request.additional_authenticated_data
            )
        except InvalidTag:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Decryption failed: verify that 'name' refers to its key.")
            raise
        return kms.DecryptResponse(plaintext=text)

    def create_crypto_key_version(
        self, request: kms.CreateCryptoKeyVersionRequest, context: grpc.ServicerContext
    ) -> kms.CryptoKeyVersion:
        key = self._key(request.parent, "parent", context)
        key.versions.append(os.urandom(32))
        return kms.CryptoKeyVersion(name=f"{request.parent}/cryptoKeyVersions/{len(key.versions)}")

    def update_crypto_key_primary_version(
        self, request: kms.UpdateCryptoKeyPrimaryVersionRequest, context: grpc.ServicerContext
    ) -> kms.CryptoKey:
        self._key(request.name, "name", context).primary = int(request.crypto_key_version_id)
        return kms.CryptoKey(name=request.name)

    def _key(self, name: str, said: str, context: grpc.ServicerContext) -> _Key:
        told = dict(context.invocation_metadata())
        if f"{said}={name}" not in str(told.get("x-goog-request-params", "")).replace("%2F", "/"):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "x-goog-request-params names no key to route to.")
        if name not in self._keys:
            context.abort(grpc.StatusCode.NOT_FOUND, f"CryptoKey {name} not found.")
        return self._keys[name]


@contextmanager
def google_kms(names: Sequence[str]) -> Iterator[str]:
    """Its address, while it answers; ``names``: of the keys on the ring."""
    keys = _Keys(names)
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    methods = {
        "Encrypt": _handler(keys.encrypt, kms.EncryptRequest, kms.EncryptResponse),
        "Decrypt": _handler(keys.decrypt, kms.DecryptRequest, kms.DecryptResponse),
        "CreateCryptoKeyVersion": _handler(
            keys.create_crypto_key_version, kms.CreateCryptoKeyVersionRequest, kms.CryptoKeyVersion
        ),
        "UpdateCryptoKeyPrimaryVersion": _handler(
            keys.update_crypto_key_primary_version, kms.UpdateCryptoKeyPrimaryVersionRequest, kms.CryptoKey
        ),
    }
    service = grpc.method_handlers_generic_handler("google.cloud.kms.v1.KeyManagementService", methods)
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


def _handler(method: Callable[..., Any], request: Any, response: Any) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        method, request_deserializer=request.deserialize, response_serializer=response.serialize
    )


def dial_google(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Google's client, where it is made from now on, speaks to that address, which asks for no credentials."""
    client = kms.KeyManagementServiceClient

    def dialled() -> kms.KeyManagementServiceClient:
        return client(transport=KeyManagementServiceGrpcTransport(channel=grpc.insecure_channel(address)))

    monkeypatch.setattr(kms, "KeyManagementServiceClient", dialled)
