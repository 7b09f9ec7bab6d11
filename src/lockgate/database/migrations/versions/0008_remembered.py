"""What dialects remember of what receivers answered, such as the key of a request's issue."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "lockgate_remembered",
        sa.Column("webhook_id", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("learnt", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("webhook_id", "subject"),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("lockgate_remembered")
