"""Where the audit's rows begin after its oldest ones were removed is signed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_COLUMNS = {
    "key": "the id of the key that signed; null: it is not signed",
    "signature": "Ed25519, Base64",
}


def upgrade() -> None:
    """What was removed before stays unsigned: nothing here tells it from what somebody else wrote there."""
    for name, comment in _COLUMNS.items():
        op.add_column("audit_tails", sa.Column(name, sa.Text(), comment=comment))


def downgrade() -> None:
    with op.batch_alter_table("audit_tails") as altered:
        for name in _COLUMNS:
            altered.drop_column(name)
