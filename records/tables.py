"""The tables of the records. Migrations bring a database to exactly this; a test holds the two together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

__all__ = [
    "NEVER",
    "Json",
    "UtcDateTime",
    "api_keys",
    "archived_runs",
    "audit_checkpoints",
    "audit_exports",
    "audit_heads",
    "audit_tails",
    "audit_words",
    "contents",
    "data_keys",
    "feedback",
    "interaction_logs",
    "key_users",
    "metadata",
    "payload_looks",
    "workflow_keys",
]


NEVER = datetime.min.replace(tzinfo=UTC)
"""Stands for a moment that was damaged where it is kept."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC, to the microsecond. SQLite keeps no zone: it is put back on reading. It holds any text,
    too: what was damaged and is no moment any more reads as ``NEVER``, and the rows beside it can still be read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime says no moment: give it a zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        # Around the dialect's own, which is where a text becomes a moment.
        decode: Any = self.impl_instance.dialect_impl(dialect).result_processor(dialect, coltype)

        def process(value: Any) -> datetime | None:
            if value is None:
                return None
            try:
                moment: datetime = decode(value) if decode else value
            except (ValueError, TypeError):
                return NEVER
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

        return process


class Json(TypeDecorator[Any]):
    """JSON. What was damaged and is none any more (SQLite holds any text) reads as something that was never written: it
    must not keep the rows beside it from being read."""

    impl = JSON
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        decode = super().result_processor(dialect, coltype)
        if decode is None:
            return None

        def process(value: Any) -> Any:
            try:
                return decode(value)
            except (ValueError, TypeError):
                return ["no JSON", str(value)]

        return process


# SQLite numbers rows by itself only under a column called INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Text has no length here: PostgreSQL stores it alike, and a long value must never cost an audit row.
interaction_logs = Table(
    "interaction_logs",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("position", BigInteger, nullable=False, comment="1, 2, 3 … within the tenant's chain"),
    Column("conversation", Text, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("ip_address", Text),
    Column("timestamp", UtcDateTime, nullable=False, comment="when the message was received"),
    Column("latency_ms", Double, nullable=False),
    Column("input_text", Text, nullable=False),
    Column("input_digest", Text, nullable=False),
    Column("output_text", Text, nullable=False),
    Column("reasoning", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("intent", Text),
    Column("confidence", Double),
    Column("model", Text),
    Column("model_digest", Text),
    Column("snapshot", Text),
    Column("policy_digest", Text),
    Column("record", Text, comment="digest of what an exact rerun needs, in contents"),
    Column("citations", Json, nullable=False),
    Column("usage", Json, nullable=False),
    Column("note", Text, nullable=False),
    Column("run_id", Text, nullable=False, comment="Temporal's id of the workflow run"),
    Column("data_key", Text, comment="the key that its texts are sealed with; null: they stand in clear"),
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    UniqueConstraint("conversation", "turn"),
    UniqueConstraint("tenant", "position"),
)

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("last_id", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)

audit_tails = Table(
    "audit_tails",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("position", BigInteger, nullable=False, comment="of the last row that was removed"),
    Column("hash", Text, nullable=False),
    Column("timestamp", UtcDateTime, nullable=False, comment="when it was removed"),
    Column("key", Text, comment="the id of the key that signed; null: it is not signed"),
    Column("signature", Text, comment="Ed25519, Base64"),
)

archived_runs = Table(
    "archived_runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("workflow_id", Text, nullable=False, index=True, comment="of a conversation its id"),
    Column("workflow_type", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("status", Text, nullable=False, comment="completed, continued_as_new, failed and their like"),
    Column("started", UtcDateTime, nullable=False),
    Column("closed", UtcDateTime, nullable=False, index=True),
    Column("events", Integer, nullable=False),
    Column("digest", Text, nullable=False, comment="of its history, in contents"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("conversation", Text, primary_key=True),
    Column("turn", Integer, primary_key=True, autoincrement=False),
    Column("user_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("score", Integer, nullable=False),
    Column("comment", Text, nullable=False),
    Column("timestamp", UtcDateTime, nullable=False),
    Column("data_key", Text, comment="the key that the comment is sealed with"),
)

contents = Table(
    "contents",
    metadata,
    Column("digest", Text, primary_key=True, comment="SHA-256 of the body before it was compressed"),
    Column("kind", Text, nullable=False),
    Column("body", LargeBinary, nullable=False, comment="zlib"),
    Column("timestamp", UtcDateTime, nullable=False),
    Column("data_key", Text, comment="the key that the body is sealed with"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("user", Text, comment="whom the key always speaks for; null: whoever it names"),
    Column("name", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("digest", Text, nullable=False, comment="SHA-256 of the secret"),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime),
    Column("revoked", UtcDateTime),
)

data_keys = Table(
    "data_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("user_id", Text, comment="whose new texts it seals; null: a workflow's own, or destroyed"),
    Column("wrapped", LargeBinary, comment="under the tenant's key; null: destroyed"),
    Column("wrapped_by", Text, nullable=False, comment="the id of that key"),
    Column("created", UtcDateTime, nullable=False),
    Column("destroyed", UtcDateTime),
    UniqueConstraint("tenant", "user_id"),
)

key_users = Table(
    "key_users",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("tenant", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Index("ix_key_users_tenant_user_id", "tenant", "user_id"),
)

workflow_keys = Table(
    "workflow_keys",
    metadata,
    Column("workflow_id", Text, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Index("ix_workflow_keys_key_id", "key_id"),
)

audit_words = Table(
    "audit_words",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("word", LargeBinary, primary_key=True, comment="HMAC-SHA-256 of the term, its first 16 bytes"),
    Column("row_id", BigInteger, primary_key=True, autoincrement=False),
    Index("ix_audit_words_row_id", "row_id"),
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", Text, nullable=False),
    Column("timestamp", UtcDateTime, nullable=False),
    Column("key", Text, nullable=False, comment="the id of the key that signed"),
    Column("signature", Text, nullable=False, comment="Ed25519, Base64"),
)

audit_exports = Table(
    "audit_exports",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("user_id", Text, comment="of this user alone; null: of all of the tenant's"),
    Column("first", BigInteger, nullable=False, comment="the first position it holds"),
    Column("last", BigInteger, nullable=False),
    Column("place", Text, nullable=False, comment="where it was written"),
    Column("digest", Text, nullable=False, comment="SHA-256 of the file"),
    Column("timestamp", UtcDateTime, nullable=False),
)

payload_looks = Table(
    "payload_looks",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("timestamp", UtcDateTime, nullable=False),
    Column("who", Text, nullable=False, comment="the id of an API key, or an issuer's user"),
    Column("how", Text, nullable=False, comment="key or oidc"),
    Column("tenant", Text, nullable=False),
    Column("workflow_id", Text, nullable=False, comment="empty where a remote codec sealed it"),
    Column("key_id", Text, nullable=False),
    Column("payloads", Integer, nullable=False),
    Index("ix_payload_looks_tenant_timestamp", "tenant", "timestamp"),
)
