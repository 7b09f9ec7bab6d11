"""Calls that are made once however often they are repeated, and the oldest servers that may still write."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "lockgate_calls",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("call", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index(op.f("ix_lockgate_calls_at"), "lockgate_calls", ["at"], unique=False)
    writers = op.create_table(
        "lockgate_writers",
        sa.Column("minimum", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("minimum"),
    )
    op.bulk_insert(writers, [{"minimum": 6}])


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("lockgate_writers")
    op.drop_index(op.f("ix_lockgate_calls_at"), table_name="lockgate_calls")
    op.drop_table("lockgate_calls")
