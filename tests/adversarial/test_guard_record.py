"""The audit log and the decisions are only ever added to, whoever writes; and that the guard was removed is there."""

from collections.abc import Callable

import pytest
from sqlalchemy.exc import DBAPIError

from lockgate.database.engine import real_uri
from lockgate.database.guard.placing import take_away
from lockgate.database.tables import audit
from tests.adversarial.serving_database import Database, Databases, known, prepared
from tests.conftest import BACKENDS

DECISION = (
    "INSERT INTO lockgate_decisions (kind, model_id, target, version_id, policy_version, evidence_digest, by_id, reason,"
    " at) VALUES ('promotion', 'fraud', 'alias:champion', 'fraud1', 1, '', 1, '', 1)"
)
ENTRY_COLUMNS = ", ".join(column.name for column in audit.c)


@pytest.mark.parametrize(
    "rewriting",
    [
        "UPDATE lockgate_audit SET actor = 'eve'",
        "UPDATE lockgate_audit SET id = id + 100",
        "DELETE FROM lockgate_audit WHERE id > 0",
        "UPDATE lockgate_decisions SET reason = 'forged'",
        "DELETE FROM lockgate_decisions",
    ],
)
@pytest.mark.parametrize("kind", BACKENDS)
def test_what_is_on_record_stays(kind: str, guarded: Databases, rewriting: str) -> None:
    refused_rewriting(guarded(kind), rewriting)


@pytest.mark.parametrize("table", ["lockgate_audit", "lockgate_decisions"])
def test_what_is_on_record_is_not_emptied(guarded: Databases, table: str) -> None:
    refused_rewriting(guarded("postgresql"), f"TRUNCATE {table} CASCADE")


@pytest.mark.parametrize("rewriting", ["id, 'eve', 'x'", "id + 100, 'eve', previous"])
def test_what_is_on_record_is_not_replaced_on_sqlite(guarded: Databases, rewriting: str) -> None:
    others = ", ".join(name for name in ENTRY_COLUMNS.split(", ") if name not in ("id", "actor", "previous"))
    refused_rewriting(
        guarded("sqlite"),
        f"INSERT OR REPLACE INTO lockgate_audit (id, actor, previous, {others}) "
        f"SELECT {rewriting}, {others} FROM lockgate_audit WHERE id = 1",
    )


def refused_rewriting(database: Database, rewriting: str) -> None:
    with pytest.raises(DBAPIError, match="stays as it is"):
        database.run("DELETE FROM lockgate_events", DECISION, rewriting)


@pytest.mark.parametrize("kind", BACKENDS)
def test_that_the_guard_was_removed_is_on_record(kind: str, new_database: Callable[[str], str]) -> None:
    database = known(prepared(kind, new_database(kind)))
    take_away(real_uri(database.uri))
    newest = "SELECT action FROM lockgate_audit ORDER BY id DESC LIMIT 1"
    assert database.rows(newest) == [("guard.removed",)]
    database.run("DELETE FROM lockgate_events", "DELETE FROM lockgate_audit")
