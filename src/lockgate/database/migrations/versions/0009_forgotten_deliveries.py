"""Deliveries that were finished long ago are forgotten, oldest first."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_index("lockgate_deliveries_finished", "lockgate_deliveries", ["finished_at"], unique=False)


def downgrade() -> None:
    """Take the change back."""
    op.drop_index("lockgate_deliveries_finished", table_name="lockgate_deliveries")
