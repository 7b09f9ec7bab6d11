"""Manifests of files, holds, freezes, break-glass, changes of policies, comments."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "lockgate_places",
        sa.Column("place", sa.String(length=64), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.Column("bytes_done", sa.BigInteger(), nullable=False),
        sa.Column("bytes_total", sa.BigInteger(), nullable=False),
        sa.Column("claimed_until", sa.BigInteger(), nullable=True),
        sa.Column("hashed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("place"),
    )
    op.create_index("lockgate_places_waiting", "lockgate_places", ["state", "claimed_until"], unique=False)
    op.create_table(
        "lockgate_freezes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("workspace", sa.String(length=63), nullable=False),
        sa.Column("pattern", sa.String(length=256), nullable=False),
        sa.Column("target", sa.String(length=300), nullable=True),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("lifted_at", sa.BigInteger(), nullable=True),
        sa.Column("lifted_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.ForeignKeyConstraint(
            ["by_id"],
            ["lockgate_principals.id"],
        ),
        sa.ForeignKeyConstraint(
            ["lifted_by_id"],
            ["lockgate_principals.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_lockgate_freezes_ends_at"), "lockgate_freezes", ["ends_at"], unique=False)
    op.create_table(
        "lockgate_policy_changes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("base_version", sa.Integer(), nullable=False),
        sa.Column("weakens", sa.Text(), nullable=False),
        sa.Column("proposer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["proposer_id"],
            ["lockgate_principals.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "lockgate_comments",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("version_id", sa.String(length=32), nullable=False),
        sa.Column("author_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("edited_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["author_id"],
            ["lockgate_principals.id"],
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["lockgate_versions.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_lockgate_comments_version_id"), "lockgate_comments", ["version_id"], unique=False)
    op.create_table(
        "lockgate_policy_approvals",
        sa.Column("change_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("principal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["change_id"],
            ["lockgate_policy_changes.id"],
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["lockgate_principals.id"],
        ),
        sa.PrimaryKeyConstraint("change_id", "principal_id"),
    )
    op.create_table(
        "lockgate_review_requests",
        sa.Column("request_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("principal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("asked_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["asked_by_id"],
            ["lockgate_principals.id"],
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["lockgate_principals.id"],
        ),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["lockgate_requests.id"],
        ),
        sa.PrimaryKeyConstraint("request_id", "principal_id"),
    )
    op.create_table(
        "lockgate_break_glass",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("decision_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model_id", sa.String(length=32), nullable=False),
        sa.Column("version_id", sa.String(length=32), nullable=False),
        sa.Column("target", sa.String(length=300), nullable=False),
        sa.Column("by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ticket", sa.String(length=300), nullable=False),
        sa.Column("unmet", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("review_by", sa.BigInteger(), nullable=False),
        sa.Column("reviewed_at", sa.BigInteger(), nullable=True),
        sa.Column("reviewer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["by_id"],
            ["lockgate_principals.id"],
        ),
        sa.ForeignKeyConstraint(
            ["decision_id"],
            ["lockgate_decisions.id"],
        ),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["lockgate_models.id"],
        ),
        sa.ForeignKeyConstraint(
            ["reviewer_id"],
            ["lockgate_principals.id"],
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["lockgate_versions.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_lockgate_break_glass_model_id"), "lockgate_break_glass", ["model_id"], unique=False)
    op.create_table(
        "lockgate_holds",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("model_id", sa.String(length=32), nullable=False),
        sa.Column("version_id", sa.String(length=32), nullable=False),
        sa.Column("target", sa.String(length=300), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("decision_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("lifted_at", sa.BigInteger(), nullable=True),
        sa.Column("lifted_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("lift_comment", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["by_id"],
            ["lockgate_principals.id"],
        ),
        sa.ForeignKeyConstraint(
            ["decision_id"],
            ["lockgate_decisions.id"],
        ),
        sa.ForeignKeyConstraint(
            ["lifted_by_id"],
            ["lockgate_principals.id"],
        ),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["lockgate_models.id"],
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["lockgate_versions.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_lockgate_holds_model_id"), "lockgate_holds", ["model_id"], unique=False)
    op.add_column(
        "lockgate_checks", sa.Column("evidence_digest", sa.String(length=80), server_default="", nullable=False)
    )
    op.execute("ALTER TABLE lockgate_principals ADD COLUMN owner_id BIGINT REFERENCES lockgate_principals (id)")
    op.add_column("lockgate_reviews", sa.Column("dismissed", sa.Text(), nullable=True))
    op.add_column("lockgate_reviews", sa.Column("lifted_at", sa.BigInteger(), nullable=True))
    op.execute("ALTER TABLE lockgate_reviews ADD COLUMN lifted_by_id BIGINT REFERENCES lockgate_principals (id)")
    op.create_table(
        "lockgate_seals",
        sa.Column("place", sa.String(length=500), nullable=False),
        sa.Column("version_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["lockgate_versions.id"],
        ),
        sa.PrimaryKeyConstraint("place", "version_id"),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("lockgate_seals")
    op.drop_column("lockgate_reviews", "lifted_by_id")
    op.drop_column("lockgate_reviews", "lifted_at")
    op.drop_column("lockgate_reviews", "dismissed")
    op.drop_column("lockgate_principals", "owner_id")
    op.drop_column("lockgate_checks", "evidence_digest")
    op.drop_index(op.f("ix_lockgate_holds_model_id"), table_name="lockgate_holds")
    op.drop_table("lockgate_holds")
    op.drop_index(op.f("ix_lockgate_break_glass_model_id"), table_name="lockgate_break_glass")
    op.drop_table("lockgate_break_glass")
    op.drop_table("lockgate_review_requests")
    op.drop_table("lockgate_policy_approvals")
    op.drop_index(op.f("ix_lockgate_comments_version_id"), table_name="lockgate_comments")
    op.drop_table("lockgate_comments")
    op.drop_table("lockgate_policy_changes")
    op.drop_index(op.f("ix_lockgate_freezes_ends_at"), table_name="lockgate_freezes")
    op.drop_table("lockgate_freezes")
    op.drop_index("lockgate_places_waiting", table_name="lockgate_places")
    op.drop_table("lockgate_places")
