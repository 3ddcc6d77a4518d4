"""Every fault Parley knows, each with a type, an HTTP status and a Temporal retry decision.

::

    ParleyFault
    ├── BadInput                  what the caller sent cannot be used; never retried
    │   ├── InvalidRequest        422  a field has the wrong type or value
    │   ├── MalformedBody         400  the body is no JSON object
    │   ├── MessageTooLong        413  longer than the tenant or the model allows
    │   ├── UnknownTenant         404  no such tenant
    │   ├── UnknownConversation   404  no such conversation, or one of another tenant
    │   ├── UnknownModel          404  no such model or alias
    │   ├── MessageIdReused       409  the same message id with another text
    │   ├── ConversationClosed    409  the conversation takes no more messages
    │   ├── ConversationBusy      429  too many messages wait already
    │   ├── TooManyTurns          429  as many turns as one connection may follow are under way
    │   ├── NoSuchTurn            404  the conversation holds no such turn any more
    │   ├── LimitReached          429  the tenant used up what it may use; ``retry_after`` says for how long
    │   ├── BodyTooSlow           408  the body did not come in time
    │   ├── NoSuchReview          404  nothing waits for a person under this turn
    │   ├── NothingToCancel       409  no turn is running
    │   └── WebhookRefused        422  no webhook may go there
    ├── AccessFault               403  who may get in
    │   ├── Unauthenticated       401  no key or token, or one that does not hold
    │   ├── Forbidden             403  the key or token does not allow this
    │   ├── CallerRefused         403  a message without a caller token that holds: its turn ends
    │   └── IssuerUnavailable     503  the issuer's keys cannot be fetched, and none are known yet
    ├── SettingsFault             500  temporal.yaml cannot be used
    ├── ModelFault                the model or its engine
    │   ├── ModelCorrupt          500  a file differs from its manifest, or is missing
    │   ├── ModelMissing          500  the model was never prepared
    │   ├── PromptTooLong         413  does not fit the model's context even when cut
    │   ├── OutOfMemory           503  no memory for this sequence: the ladder decides
    │   ├── EngineLost            503  the engine's process died: another attempt
    │   ├── EngineBusy            503  a server has no room now: another attempt
    │   ├── EngineHung            503  no token in time: replaced, another attempt
    │   ├── GenerationTimedOut    504  the try took longer than its plan allows
    │   ├── UnsafeModel           422  brings pickles, code or paths: never taken
    │   ├── DownloadFailed        503  the source cannot be reached or broke off: another attempt
    │   ├── DownloadRefused       502  the source says no: a token, an address or a revision is wrong
    │   └── RegistryFault         the registry of models
    │       ├── RegistryUnavailable 503  its store cannot be reached, read or written
    │       ├── RegistryConflict  409  another content under the same digest
    │       ├── NoSuchVersion     404  no such model, version or alias
    │       └── PromotionRefused  409  the version did not pass its gate
    ├── KnowledgeFault            the knowledge base
    │   ├── KnowledgeMissing      503  no snapshot is current
    │   ├── KnowledgeCorrupt      500  a snapshot's files differ from its name
    │   └── DocumentUnreadable    422  a document cannot be read or has no text
    ├── RecordsFault              what is kept
    │   ├── RecordsUnavailable    503  the database cannot be reached or written
    │   ├── RecordsConflict       409  another content under the same conversation and turn
    │   ├── ContentMissing        404  no content is stored under this digest
    │   ├── TokenLogFenced        409  a newer attempt owns this turn's token log
    │   ├── TokenLogUnavailable   503  the log cannot be written: costs the stream only
    │   └── ProtectionFault       what is encrypted and signed
    │       ├── KeyMissing        410  the key of this text is not here
    │       │   └── KeyDestroyed  410  it was destroyed when its user was forgotten
    │       ├── KeysUnavailable   503  the key service cannot be asked: another attempt
    │       ├── SealBroken        500  a ciphertext was changed, cut or moved
    │       ├── PlainRefused      422  a payload in clear where the site takes none
    │       ├── ReceiptInvalid    422  a receipt that this key did not sign
    │       ├── AttestationRefused 403 a quote that proves none of the enclaves that may have keys
    │       └── KeyServiceUntrusted 502 keys that are not signed by the service they were asked of
    ├── HistoryFault              422  a recorded history cannot be used
    │   ├── HistoryUnreadable     422  no JSON, cut off, or no history in it
    │   ├── HistoryBroken         422  events are missing, stand in another order or were edited
    │   ├── HistoryForeign        422  another workflow's
    │   ├── HistoryLocked         403  its payloads cannot be decoded: a key is missing
    │   ├── BundleBroken          422  an exported bundle is not as it was signed
    │   └── NoSuchHistory         404  Temporal has none under this id
    ├── WebhookFailed             502  a webhook's receiver did not take it: another attempt
    ├── PolicyFault               500  a policy or word list cannot be used
    └── IntentsFault              500  an intents file cannot be used

A fault's ``retryable`` says whether Temporal tries the *attempt* again. What the ladder does with a
poor *result* is no fault at all but part of :class:`dialogue.steps.GeneratedAnswer`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

__all__ = [
    "AccessFault",
    "AttestationRefused",
    "BadInput",
    "BodyTooSlow",
    "BundleBroken",
    "CallerRefused",
    "ContentMissing",
    "ConversationBusy",
    "ConversationClosed",
    "DocumentUnreadable",
    "DownloadFailed",
    "DownloadRefused",
    "EngineBusy",
    "EngineHung",
    "EngineLost",
    "Forbidden",
    "GenerationTimedOut",
    "HistoryBroken",
    "HistoryFault",
    "HistoryForeign",
    "HistoryLocked",
    "HistoryUnreadable",
    "IntentsFault",
    "InvalidRequest",
    "IssuerUnavailable",
    "KeyDestroyed",
    "KeyMissing",
    "KeyServiceUntrusted",
    "KeysUnavailable",
    "KnowledgeCorrupt",
    "KnowledgeFault",
    "KnowledgeMissing",
    "LimitReached",
    "MalformedBody",
    "MessageIdReused",
    "MessageTooLong",
    "ModelCorrupt",
    "ModelFault",
    "ModelMissing",
    "NoSuchHistory",
    "NoSuchReview",
    "NoSuchTurn",
    "NoSuchVersion",
    "NothingToCancel",
    "OutOfMemory",
    "ParleyFault",
    "PlainRefused",
    "PolicyFault",
    "PromotionRefused",
    "PromptTooLong",
    "ProtectionFault",
    "ReceiptInvalid",
    "RecordsConflict",
    "RecordsFault",
    "RecordsUnavailable",
    "RegistryConflict",
    "RegistryFault",
    "RegistryUnavailable",
    "SealBroken",
    "SettingsFault",
    "TokenLogFenced",
    "TokenLogUnavailable",
    "TooManyTurns",
    "Unauthenticated",
    "UnknownConversation",
    "UnknownModel",
    "UnknownTenant",
    "UnsafeModel",
    "WebhookFailed",
    "WebhookRefused",
    "all_faults",
    "fault_named",
    "unknown_conversation",
    "unknown_tenant",
]


class ParleyFault(Exception):
    """The root of all faults.

    ``message`` is one line that names the field, what is wrong with its value and the way out.
    ``field`` is the dotted name of the offending field, where there is one.
    """

    type: ClassVar[str] = "fault"
    title: ClassVar[str] = "Something went wrong"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, field: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.details = details

    def with_details(self, **more: Any) -> Self:
        """A fault of its own that also tells ``more``: one object may be raised to many who wait for the same thing."""
        return type(self)(self.message, field=self.field, **{**self.details, **more})


class BadInput(ParleyFault):
    type, title, status = "bad-input", "The request cannot be used", 400


class InvalidRequest(BadInput):
    type, title, status = "invalid-request", "A field has a wrong value", 422


class MalformedBody(BadInput):
    type, title, status = "malformed-body", "The body is not a JSON object", 400


class MessageTooLong(BadInput):
    type, title, status = "message-too-long", "The message is too long", 413


class UnknownTenant(BadInput):
    type, title, status = "unknown-tenant", "No such tenant", 404


class UnknownConversation(BadInput):
    type, title, status = "unknown-conversation", "No such conversation", 404


class UnknownModel(BadInput):
    type, title, status = "unknown-model", "No such model", 404


class MessageIdReused(BadInput):
    type, title, status = "message-id-reused", "The message id was used for another text", 409


class ConversationClosed(BadInput):
    type, title, status = "conversation-closed", "The conversation is closed", 409


class ConversationBusy(BadInput):
    type, title, status = "conversation-busy", "Too many messages wait in this conversation", 429


class TooManyTurns(BadInput):
    type, title, status = "too-many-turns", "Too many turns at once on one connection", 429


class LimitReached(BadInput):
    type, title, status = "limit-reached", "The tenant's limit is reached", 429


class BodyTooSlow(BadInput):
    type, title, status = "body-too-slow", "The body did not come in time", 408


class NoSuchTurn(BadInput):
    type, title, status = "no-such-turn", "No such turn", 404


class NoSuchReview(BadInput):
    type, title, status = "no-such-review", "Nothing waits for a person here", 404


class NothingToCancel(BadInput):
    type, title, status = "nothing-to-cancel", "No turn is running", 409


class WebhookRefused(BadInput):
    type, title, status = "webhook-refused", "No webhook may go there", 422


class AccessFault(ParleyFault):
    type, title, status = "access", "No access", 403


class Unauthenticated(AccessFault):
    type, title, status = "unauthenticated", "A key or token that holds is needed", 401


class Forbidden(AccessFault):
    type, title, status = "forbidden", "The key or token does not allow this", 403


class CallerRefused(AccessFault):
    type, title, status = "caller-refused", "The caller token does not hold", 403


class IssuerUnavailable(AccessFault):
    type, title, status, retryable = "issuer-unavailable", "The token issuer is unavailable", 503, True


class SettingsFault(ParleyFault):
    type, title, status = "settings", "The settings cannot be used", 500


class ModelFault(ParleyFault):
    type, title, status = "model", "The model cannot be used", 500


class ModelCorrupt(ModelFault):
    type, title, status = "model-corrupt", "A model file differs from its manifest", 500


class ModelMissing(ModelFault):
    type, title, status = "model-missing", "The model was not prepared", 500


class PromptTooLong(ModelFault):
    type, title, status = "prompt-too-long", "The prompt does not fit the model", 413


class OutOfMemory(ModelFault):
    type, title, status = "out-of-memory", "No memory for this sequence", 503


class EngineLost(ModelFault):
    type, title, status, retryable = "engine-lost", "The engine's process died", 503, True


class EngineBusy(ModelFault):
    type, title, status, retryable = "engine-busy", "The engine has no room now", 503, True


class EngineHung(ModelFault):
    type, title, status, retryable = "engine-hung", "The engine gave no token in time", 503, True


class GenerationTimedOut(ModelFault):
    type, title, status = "generation-timed-out", "The generation took too long", 504


class UnsafeModel(ModelFault):
    type, title, status = "unsafe-model", "The model brings what is never taken", 422


class DownloadFailed(ModelFault):
    type, title, status, retryable = "download-failed", "The download broke off", 503, True


class DownloadRefused(ModelFault):
    type, title, status = "download-refused", "The source refuses the download", 502


class RegistryFault(ModelFault):
    type, title, status = "registry", "The registry of models cannot be used", 500


class RegistryUnavailable(RegistryFault):
    type, title, status, retryable = "registry-unavailable", "The registry is unavailable", 503, True


class RegistryConflict(RegistryFault):
    type, title, status = "registry-conflict", "Another content under this digest", 409


class NoSuchVersion(RegistryFault):
    type, title, status = "no-such-version", "No such version of a model", 404


class PromotionRefused(RegistryFault):
    type, title, status = "promotion-refused", "The version did not pass its gate", 409


class KnowledgeFault(ParleyFault):
    type, title, status = "knowledge", "The knowledge base cannot be used", 500


class KnowledgeMissing(KnowledgeFault):
    type, title, status, retryable = "knowledge-missing", "No knowledge snapshot", 503, True


class KnowledgeCorrupt(KnowledgeFault):
    type, title, status = "knowledge-corrupt", "A knowledge snapshot is damaged", 500


class DocumentUnreadable(KnowledgeFault):
    type, title, status = "document-unreadable", "The document cannot be read", 422


class RecordsFault(ParleyFault):
    type, title, status = "records", "The records cannot be used", 500


class RecordsUnavailable(RecordsFault):
    type, title, status, retryable = "records-unavailable", "The records are unavailable", 503, True


class RecordsConflict(RecordsFault):
    type, title, status = "records-conflict", "This turn was recorded with other content", 409


class ContentMissing(RecordsFault):
    type, title, status = "content-missing", "No content under this digest", 404


class TokenLogFenced(RecordsFault):
    type, title, status = "token-log-fenced", "A newer attempt owns this turn", 409


class TokenLogUnavailable(RecordsFault):
    type, title, status, retryable = "token-log-unavailable", "The token log fails", 503, True


class HistoryFault(ParleyFault):
    type, title, status = "history", "The history cannot be used", 422


class HistoryUnreadable(HistoryFault):
    type, title, status = "history-unreadable", "This holds no whole history", 422


class HistoryBroken(HistoryFault):
    type, title, status = "history-broken", "The history is not as it was recorded", 422


class HistoryForeign(HistoryFault):
    type, title, status = "history-foreign", "The history is another workflow's", 422


class HistoryLocked(HistoryFault):
    type, title, status = "history-locked", "The history cannot be decoded", 403


class BundleBroken(HistoryFault):
    type, title, status = "bundle-broken", "The bundle is not as it was signed", 422


class NoSuchHistory(HistoryFault):
    type, title, status = "no-such-history", "No such history", 404


class ProtectionFault(RecordsFault):
    type, title, status = "protection", "What is protected cannot be used", 500


class KeyMissing(ProtectionFault):
    type, title, status = "key-missing", "The key of this text is not here", 410


class KeyDestroyed(KeyMissing):
    type, title, status = "key-destroyed", "Whose text this is was forgotten", 410


class KeysUnavailable(ProtectionFault):
    type, title, status, retryable = "keys-unavailable", "The keys cannot be asked for", 503, True


class SealBroken(ProtectionFault):
    type, title, status = "seal-broken", "A ciphertext is not as it was written", 500


class PlainRefused(ProtectionFault):
    type, title, status = "plain-refused", "A payload is not encrypted", 422


class ReceiptInvalid(ProtectionFault):
    type, title, status = "receipt-invalid", "The receipt does not hold", 422


class AttestationRefused(ProtectionFault):
    type, title, status = "attestation-refused", "The attestation does not hold", 403


class KeyServiceUntrusted(ProtectionFault):
    type, title, status, retryable = "key-service-untrusted", "The keys are not the key service's", 502, True


class WebhookFailed(ParleyFault):
    type, title, status, retryable = "webhook-failed", "The webhook was not taken", 502, True


class PolicyFault(ParleyFault):
    type, title, status = "policy", "The policy cannot be used", 500


class IntentsFault(ParleyFault):
    type, title, status = "intents", "The intents cannot be used", 500


def unknown_conversation(conversation: str) -> UnknownConversation:
    """The same words for a conversation that is not there and for one that is another tenant's."""
    return UnknownConversation(f"conversation {conversation} belongs to no tenant you may read.", field="conversation")


def unknown_tenant(tenant: str) -> UnknownTenant:
    """The same words for a tenant that is not there and for one that the caller may not use."""
    return UnknownTenant(f"tenant: there is no tenant {tenant}. Name one of this site's.", field="tenant")


def all_faults() -> dict[str, type[ParleyFault]]:
    """Every fault class by its ``type``."""
    found: dict[str, type[ParleyFault]] = {}
    waiting: list[type[ParleyFault]] = [ParleyFault]
    while waiting:
        fault = waiting.pop()
        found[fault.type] = fault
        waiting.extend(fault.__subclasses__())
    return found


def fault_named(type_: str | None, message: str, **details: Any) -> ParleyFault:
    """The fault of that ``type`` (as it crossed a process border), or a plain :class:`ParleyFault`."""
    return all_faults().get(type_ or "", ParleyFault)(message, **details)
