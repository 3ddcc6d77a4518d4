"""Encryption: data keys, whose workflow is whose, sealed columns, the word index, checkpoints, exports."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_SEALED = {
    "interaction_logs": "the key that its texts are sealed with; null: they stand in clear",
    "feedback": "the key that the comment is sealed with",
    "contents": "the key that the body is sealed with",
}


def upgrade() -> None:
    for table, comment in _SEALED.items():
        op.add_column(table, sa.Column("data_key", sa.Text(), comment=comment))
    _keys()
    _audit()


def _keys() -> None:
    op.create_table(
        "data_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), comment="whose new texts it seals; null: a workflow's own, or destroyed"),
        sa.Column("wrapped", sa.LargeBinary(), comment="under the tenant's key; null: destroyed"),
        sa.Column("wrapped_by", sa.Text(), nullable=False, comment="the id of that key"),
        sa.Column("created", _MOMENT, nullable=False),
        sa.Column("destroyed", _MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_keys")),
        sa.UniqueConstraint("tenant", "user_id", name=op.f("uq_data_keys_tenant_user_id")),
    )
    op.create_table(
        "key_users",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "tenant", "user_id", name=op.f("pk_key_users")),
    )
    op.create_index("ix_key_users_tenant_user_id", "key_users", ["tenant", "user_id"])
    op.create_table(
        "workflow_keys",
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("created", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", name=op.f("pk_workflow_keys")),
    )
    op.create_index("ix_workflow_keys_key_id", "workflow_keys", ["key_id"])


def _audit() -> None:
    op.create_table(
        "audit_words",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("word", sa.LargeBinary(), nullable=False, comment="HMAC-SHA-256 of the term, its first 16 bytes"),
        sa.Column("row_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "word", "row_id", name=op.f("pk_audit_words")),
    )
    op.create_index("ix_audit_words_row_id", "audit_words", ["row_id"])
    op.create_table(
        "audit_checkpoints",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("timestamp", _MOMENT, nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="the id of the key that signed"),
        sa.Column("signature", sa.Text(), nullable=False, comment="Ed25519, Base64"),
        sa.PrimaryKeyConstraint("tenant", "position", name=op.f("pk_audit_checkpoints")),
    )
    op.create_table(
        "audit_exports",
        sa.Column("id", _ID, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), comment="of this user alone; null: of all of the tenant's"),
        sa.Column("first", sa.BigInteger(), nullable=False, comment="the first position it holds"),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False, comment="where it was written"),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the file"),
        sa.Column("timestamp", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_exports")),
    )


def downgrade() -> None:
    for table in ("audit_exports", "audit_checkpoints", "audit_words", "workflow_keys", "key_users", "data_keys"):
        op.drop_table(table)
    for table in _SEALED:
        with op.batch_alter_table(table) as altered:
            altered.drop_column("data_key")
