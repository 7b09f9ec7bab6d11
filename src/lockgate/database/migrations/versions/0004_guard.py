"""What the database's guard needs: protected targets, grants, and who moved what behind the server's back."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SERVES_BY_DECISION = "until IS NULL AND decision_id IS NOT NULL"
# Two versions that decisions brought into one target and that are both said to be there: that never was, but a
# migration that fails helps nobody. All but the newest have gone.
_END_ALL_BUT_THE_NEWEST = f"""
UPDATE lockgate_holders SET until = (
    SELECT min(n.since) FROM lockgate_holders n
    WHERE n.model_id = lockgate_holders.model_id AND n.target = lockgate_holders.target AND n.id > lockgate_holders.id)
WHERE {_SERVES_BY_DECISION} AND EXISTS (
    SELECT 1 FROM lockgate_holders n
    WHERE n.model_id = lockgate_holders.model_id AND n.target = lockgate_holders.target AND n.id > lockgate_holders.id
      AND n.until IS NULL AND n.decision_id IS NOT NULL)
"""  # noqa: S608


def upgrade() -> None:
    """Apply the change."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "lockgate_protected",
        sa.Column("target", sa.String(length=300), nullable=False),
        sa.PrimaryKeyConstraint("target"),
    )
    op.create_table(
        "lockgate_grants",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column(
            "xact",
            sa.String(length=32),
            server_default=sa.text("CAST(pg_current_xact_id() AS text)") if on_postgresql else None,
            nullable=True,
        ),
        sa.Column("change", sa.String(length=8), nullable=False),
        sa.Column("model_id", sa.String(length=32), nullable=False),
        sa.Column("version_id", sa.String(length=32), nullable=False),
        sa.Column("target", sa.String(length=300), nullable=False),
        sa.Column("decision_id", sa.BigInteger(), nullable=True),
        sa.Column("evidence_digest", sa.String(length=80), nullable=False),
        sa.Column("by_id", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_lockgate_grants_model_id"), "lockgate_grants", ["model_id"], unique=False)
    op.add_column("lockgate_holders", sa.Column("behind", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute(_END_ALL_BUT_THE_NEWEST)
    op.create_index(
        "lockgate_holders_sole",
        "lockgate_holders",
        ["model_id", "target"],
        unique=True,
        sqlite_where=sa.text(_SERVES_BY_DECISION),
        postgresql_where=sa.text(_SERVES_BY_DECISION),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_index("lockgate_holders_sole", table_name="lockgate_holders")
    op.drop_column("lockgate_holders", "behind")
    op.drop_table("lockgate_grants")
    op.drop_table("lockgate_protected")
