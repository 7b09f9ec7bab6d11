"""Indexes beside MLflow's tables, by which versions are found by their run and runs by what they say and read."""

from collections.abc import Sequence

from alembic import op
from sqlalchemy import TextClause, text

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# Of a text its beginning, as `registry/lineage.py` asks for it: PostgreSQL takes no more than some 2,700 bytes.
_INDEXES: Sequence[tuple[str, str, Sequence[str | TextClause]]] = (
    ("lockgate_versions_of_run", "model_versions", ["run_id"]),
    ("lockgate_tags_by_value", "tags", ["key", text("substr(value, 1, 200)")]),
    ("lockgate_params_by_value", "params", ["key", text("substr(value, 1, 200)")]),
    ("lockgate_datasets_by_digest", "datasets", ["digest"]),
    ("lockgate_datasets_by_name", "datasets", ["name"]),
)


def upgrade() -> None:
    """Apply the change."""
    for name, table, columns in _INDEXES:
        op.create_index(name, table, columns, unique=False, if_not_exists=True)


def downgrade() -> None:
    """Take the change back."""
    for name, table, _ in reversed(_INDEXES):
        op.drop_index(name, table_name=table, if_exists=True)
