"""Who looked at payloads through the codec server: rows that are added and never changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_REFUSED = "payload_looks takes rows and lets none be changed or removed"


def upgrade() -> None:
    op.create_table(
        "payload_looks",
        sa.Column("id", _ID, nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.Text(), nullable=False, comment="the id of an API key, or an issuer's user"),
        sa.Column("how", sa.Text(), nullable=False, comment="key or oidc"),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False, comment="empty where a remote codec sealed it"),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("payloads", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payload_looks")),
    )
    op.create_index("ix_payload_looks_tenant_timestamp", "payload_looks", ["tenant", "timestamp"])
    if op.get_bind().dialect.name == "sqlite":
        for what in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER payload_looks_no_{what.lower()} BEFORE {what} ON payload_looks "
                f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION payload_looks_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSED}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER payload_looks_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON payload_looks "
        "FOR EACH STATEMENT EXECUTE FUNCTION payload_looks_refuse()"
    )


def downgrade() -> None:
    op.drop_table("payload_looks")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION payload_looks_refuse()")
