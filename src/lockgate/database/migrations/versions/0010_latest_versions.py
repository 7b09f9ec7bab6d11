"""An index beside MLflow's tables, by which the latest version in a stage is found without a look at the others."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    columns = ["workspace", "name", "current_stage", "version"]
    op.create_index("lockgate_versions_by_stage", "model_versions", columns, unique=False, if_not_exists=True)


def downgrade() -> None:
    """Take the change back."""
    op.drop_index("lockgate_versions_by_stage", table_name="model_versions", if_exists=True)
