"""The audit and its chain's heads, feedback, contents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "interaction_logs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="1, 2, 3 … within the tenant's chain"),
        sa.Column("conversation", sa.Text(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("ip_address", sa.Text()),
        sa.Column("timestamp", _MOMENT, nullable=False, comment="when the message was received"),
        sa.Column("latency_ms", sa.Double(), nullable=False),
        sa.Column("input_text", sa.Text(), nullable=False),
        sa.Column("input_digest", sa.Text(), nullable=False),
        sa.Column("output_text", sa.Text(), nullable=False),
        sa.Column("reasoning", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("intent", sa.Text()),
        sa.Column("confidence", sa.Double()),
        sa.Column("model", sa.Text()),
        sa.Column("model_digest", sa.Text()),
        sa.Column("snapshot", sa.Text()),
        sa.Column("policy_digest", sa.Text()),
        sa.Column("record", sa.Text(), comment="digest of what an exact rerun needs, in contents"),
        sa.Column("citations", sa.JSON(), nullable=False),
        sa.Column("usage", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False, comment="Temporal's id of the workflow run"),
        sa.Column("previous_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_interaction_logs")),
        sa.UniqueConstraint("conversation", "turn", name=op.f("uq_interaction_logs_conversation_turn")),
        sa.UniqueConstraint("tenant", "position", name=op.f("uq_interaction_logs_tenant_position")),
    )
    op.create_table(
        "audit_heads",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_audit_heads")),
    )
    op.create_table(
        "feedback",
        sa.Column("conversation", sa.Text(), nullable=False),
        sa.Column("turn", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("timestamp", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("conversation", "turn", "user_id", name=op.f("pk_feedback")),
    )
    op.create_table(
        "contents",
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the body before it was compressed"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="zlib"),
        sa.Column("timestamp", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_contents")),
    )


def downgrade() -> None:
    for table in ("contents", "feedback", "audit_heads", "interaction_logs"):
        op.drop_table(table)
