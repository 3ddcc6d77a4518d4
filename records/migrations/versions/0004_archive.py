"""Archived runs, and where the audit's rows begin after its oldest ones were removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "archived_runs",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False, comment="of a conversation its id"),
        sa.Column("workflow_type", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False, comment="completed, continued_as_new, failed and their like"),
        sa.Column("started", _MOMENT, nullable=False),
        sa.Column("closed", _MOMENT, nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False, comment="of its history, in contents"),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_archived_runs")),
    )
    op.create_index(op.f("ix_archived_runs_workflow_id"), "archived_runs", ["workflow_id"])
    op.create_index(op.f("ix_archived_runs_closed"), "archived_runs", ["closed"])
    op.create_table(
        "audit_tails",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="of the last row that was removed"),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("timestamp", _MOMENT, nullable=False, comment="when it was removed"),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_audit_tails")),
    )


def downgrade() -> None:
    op.drop_table("audit_tails")
    op.drop_table("archived_runs")
