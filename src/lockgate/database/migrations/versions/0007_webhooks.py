"""Webhooks, and what is delivered to them: lanes, deliveries, attempts, and how far the outbox has been read."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply the change."""
    op.create_index(op.f("ix_lockgate_decisions_request_id"), "lockgate_decisions", ["request_id"], unique=False)
    op.create_table(
        "lockgate_webhooks",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("workspace", sa.String(length=63), nullable=False),
        sa.Column("dialect", sa.String(length=64), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("models", sa.String(length=256), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("told_since", sa.BigInteger(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("verify_certificate", sa.Boolean(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["lockgate_principals.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "lockgate_lanes",
        sa.Column("webhook_id", sa.String(length=256), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("claimed_until", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("webhook_id", "model"),
    )
    op.create_index("lockgate_lanes_due", "lockgate_lanes", ["due_at"], unique=False)
    op.create_table(
        "lockgate_deliveries",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("webhook_id", sa.String(length=256), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("event_id", _ID, nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["event_id"], ["lockgate_events.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("webhook_id", "event_id", "name", name="lockgate_deliveries_once"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "lockgate_deliveries_waiting", "lockgate_deliveries", ["webhook_id", "model", "state", "id"], unique=False
    )
    op.create_table(
        "lockgate_delivery_attempts",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("delivery_id", _ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["lockgate_deliveries.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_lockgate_delivery_attempts_delivery_id"), "lockgate_delivery_attempts", ["delivery_id"], unique=False
    )
    outbox = op.create_table(
        "lockgate_outbox",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name="lockgate_outbox_is_one"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(outbox, [{"id": 1, "position": 0}])


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("lockgate_outbox")
    op.drop_index(op.f("ix_lockgate_delivery_attempts_delivery_id"), table_name="lockgate_delivery_attempts")
    op.drop_table("lockgate_delivery_attempts")
    op.drop_index("lockgate_deliveries_waiting", table_name="lockgate_deliveries")
    op.drop_table("lockgate_deliveries")
    op.drop_index("lockgate_lanes_due", table_name="lockgate_lanes")
    op.drop_table("lockgate_lanes")
    op.drop_table("lockgate_webhooks")
    op.drop_index(op.f("ix_lockgate_decisions_request_id"), table_name="lockgate_decisions")
