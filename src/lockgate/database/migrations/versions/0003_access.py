"""Identities at OpenID providers, second accounts, caveats and last use of tokens, failed attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.execute("ALTER TABLE lockgate_principals ADD COLUMN person_id BIGINT REFERENCES lockgate_principals (id)")
    op.add_column("lockgate_tokens", sa.Column("last_used_at", sa.BigInteger(), nullable=True))
    op.add_column("lockgate_tokens", sa.Column("caveats", sa.Text(), nullable=True))
    op.create_table(
        "lockgate_identities",
        sa.Column("issuer", sa.String(length=256), nullable=False),
        sa.Column("subject", sa.String(length=256), nullable=False),
        sa.Column("principal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["lockgate_principals.id"],
        ),
        sa.PrimaryKeyConstraint("issuer", "subject"),
    )
    op.create_index(op.f("ix_lockgate_identities_principal_id"), "lockgate_identities", ["principal_id"], unique=False)
    op.create_table(
        "lockgate_attempts",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("lockgate_attempts")
    op.drop_table("lockgate_identities")
    op.drop_column("lockgate_tokens", "caveats")
    op.drop_column("lockgate_tokens", "last_used_at")
    op.drop_column("lockgate_principals", "person_id")
