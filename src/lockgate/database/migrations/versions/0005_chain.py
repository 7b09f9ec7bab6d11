"""The audit log as a hash chain, keys to sign it with, and who keeps its checkpoints."""

import hashlib
import json
import math
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BATCH = 1000


def upgrade() -> None:
    """Apply the change. Entries of before are chained in their order; where their numbers have gaps, these close."""
    op.add_column("lockgate_audit", sa.Column("previous", sa.String(length=64), nullable=False, server_default=""))
    # As text: nothing else adds a constraint to a table of SQLite's.
    op.execute(
        "ALTER TABLE lockgate_audit ADD COLUMN hash VARCHAR(64) DEFAULT '' NOT NULL "
        "CONSTRAINT lockgate_audit_from_one CHECK (id > 0)"
    )
    op.create_table(
        "lockgate_chain_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("log_id", sa.String(length=32), nullable=False),
        sa.CheckConstraint("id = 1", name="lockgate_chain_head_is_one"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "lockgate_signing_keys",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("private_key", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id"),
    )
    op.create_table(
        "lockgate_witnesses",
        sa.Column("witness", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("claimed_until", sa.BigInteger(), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("witness"),
    )
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    if on_postgresql:
        op.drop_constraint("lockgate_events_audit_id_fkey", "lockgate_events", type_="foreignkey")
    _chain()
    op.create_index("lockgate_audit_chain", "lockgate_audit", ["previous"], unique=True)
    if on_postgresql:
        op.create_foreign_key(
            "lockgate_events_audit_id_fkey", "lockgate_events", "lockgate_audit", ["audit_id"], ["id"]
        )
        for column in ("id", "previous", "hash"):
            op.alter_column("lockgate_audit", column, server_default=None)


def _chain() -> None:
    bind = op.get_bind()
    read = sa.text("SELECT * FROM lockgate_audit WHERE id > :after ORDER BY id LIMIT :most")
    write = sa.text("UPDATE lockgate_audit SET id = :number, previous = :previous, hash = :hash WHERE id = :old")
    renumber = sa.text("UPDATE lockgate_events SET audit_id = :number WHERE audit_id = :old")
    number, last, after = 0, "0" * 64, 0
    while rows := bind.execute(read, {"after": after, "most": _BATCH}).all():
        changes: list[dict[str, Any]] = []
        for row in rows:
            number += 1
            following = hashlib.sha256(_line_of_0005(row, number, last).encode(errors="backslashreplace")).hexdigest()
            changes.append({"old": row.id, "number": number, "previous": last, "hash": following})
            last, after = following, row.id
        bind.execute(write, changes)
        moved = [{"old": one["old"], "number": one["number"]} for one in changes if one["old"] != one["number"]]
        if moved:
            bind.execute(renumber, moved)
    head = sa.text("INSERT INTO lockgate_chain_head (id, number, hash, log_id) VALUES (1, :number, :hash, :log_id)")
    bind.execute(head, {"number": number, "hash": last, "log_id": uuid.uuid4().hex})


#: The columns whose values a line has as they are.
_AS_THEY_ARE = (
    "actor", "actor_id", "address", "action", "outcome", "workspace", "model_id", "model", "version", "target",
    "request_id", "decision_id", "reason",
)  # fmt: skip


def _line_of_0005(row: Any, number: int, previous: str) -> str:
    """Return the line that stands for an entry, as lines were when the chain was made; later versions add to it."""
    at = datetime.fromtimestamp(row.at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told = {
        "number": number,
        "previous": previous,
        "at": at,
        "before": json.loads(row.before),
        "after": json.loads(row.after),
        **{name: getattr(row, name) for name in _AS_THEY_ARE},
    }
    return json.dumps(_finite(told), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value


def downgrade() -> None:
    """Take the change back. Numbers stay as they are now."""
    op.drop_index("lockgate_audit_chain", "lockgate_audit")
    op.drop_table("lockgate_witnesses")
    op.drop_table("lockgate_signing_keys")
    op.drop_table("lockgate_chain_head")
    if op.get_bind().dialect.name == "postgresql":  # on SQLite it goes with its column
        op.drop_constraint("lockgate_audit_from_one", "lockgate_audit")
    op.drop_column("lockgate_audit", "hash")
    op.drop_column("lockgate_audit", "previous")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE lockgate_audit ALTER COLUMN id SET DEFAULT nextval('lockgate_audit_id_seq')")
        op.execute("SELECT setval('lockgate_audit_id_seq', (SELECT coalesce(max(id), 1) FROM lockgate_audit))")
