"""The guard in the database, and what goes past the server: a stock server, a client with the connection string, SQL.

Each attack is first seen to succeed on a database without the guard, then refused on one with it.
"""

import re
from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from tests.adversarial.serving_database import (
    ALIAS,
    FITS,
    MOVE,
    REQUEST,
    ROLES,
    VERSION,
    Database,
    Databases,
    as_role,
    forge,
    grants,
    known,
    prepared,
)
from tests.conftest import BACKENDS

#: What anybody might try who may write to MLflow's tables; each of them a transaction.
ATTACKS = {
    "move the alias": ["UPDATE registered_model_aliases SET version = 2 WHERE alias = 'champion'"],
    "delete the alias": ["DELETE FROM registered_model_aliases WHERE alias = 'champion'"],
    "rename another alias": [
        "UPDATE registered_model_aliases SET alias = 'old' WHERE alias = 'champion'",
        "UPDATE registered_model_aliases SET alias = 'champion' WHERE alias = 'canary'",
    ],
    "swap the versions of two aliases": [
        "UPDATE registered_model_aliases SET version = 3 - version WHERE alias IN ('champion', 'canary')"
    ],
    "promote by stage": ["UPDATE model_versions SET current_stage = 'Production' WHERE name = 'fraud' AND version = 2"],
    "promote in another case": [
        "UPDATE model_versions SET current_stage = 'production' WHERE name = 'fraud' AND version = 2"
    ],
    "archive what serves": ["UPDATE model_versions SET current_stage = 'Archived' WHERE current_stage = 'Production'"],
    "register in production": [VERSION.format(name="fraud", version=9, stage="Production")],
    "upsert the alias": [
        ALIAS.format(alias="champion", version=2)
        + " ON CONFLICT (workspace, name, alias) DO UPDATE SET version = excluded.version"
    ],
    "upsert the version": [
        VERSION.format(name="fraud", version=2, stage="Production")
        + " ON CONFLICT (workspace, name, version) DO UPDATE SET current_stage = excluded.current_stage"
    ],
    "change where the files are": ["UPDATE model_versions SET source = 'file:///evil' WHERE version = 1"],
    "change where the files really are": [
        "UPDATE model_versions SET storage_location = 'file:///evil' WHERE name = 'fraud' AND version = 1"
    ],
    "change the run": ["UPDATE model_versions SET run_id = 'evil' WHERE name = 'fraud' AND version = 1"],
    "swap the numbers": [
        "UPDATE model_versions SET version = 100 WHERE name = 'fraud' AND version = 1",
        "UPDATE model_versions SET version = 1 WHERE name = 'fraud' AND version = 2",
    ],
    "put another model's version in its place": [
        "UPDATE model_versions SET version = 50 WHERE name = 'fraud' AND version = 1",
        "UPDATE model_versions SET name = 'fraud' WHERE name = 'other' AND version = 1",
    ],
    "delete the version": ["DELETE FROM model_versions WHERE name = 'fraud' AND version = 1"],
    "delete it as MLflow does": [
        "UPDATE model_versions SET current_stage = 'Deleted_Internal', source = 'gone' WHERE name = 'fraud' AND version = 1"
    ],
    "rename the model": ["UPDATE registered_models SET name = 'gone' WHERE name = 'fraud'"],
    "put another model under its name": [
        "UPDATE registered_models SET name = 'gone' WHERE name = 'fraud'",
        "UPDATE registered_models SET name = 'fraud' WHERE name = 'other'",
    ],
    "delete the model": [
        "DELETE FROM model_versions WHERE name = 'fraud'",
        "DELETE FROM registered_models WHERE name = 'fraud'",
    ],
    "move it to another workspace": ["UPDATE registered_models SET workspace = 'elsewhere' WHERE name = 'fraud'"],
}
ON_POSTGRESQL = {
    "merge": [
        "MERGE INTO registered_model_aliases a USING (SELECT 2 AS version) s ON a.alias = 'champion' "
        "WHEN MATCHED THEN UPDATE SET version = s.version"
    ],
    "shadow what the guard looks at": [
        "CREATE TEMP TABLE lockgate_protected (target text)",
        "CREATE TEMP TABLE lockgate_grants (xact text, change text, model_id text, version_id text, target text)",
        "CREATE TEMP TABLE registered_model_aliases_kept AS SELECT 1",
        "SET search_path = pg_temp, public",
        "UPDATE registered_model_aliases SET version = 2 WHERE alias = 'champion'",
    ],
    "shadow functions": [
        "CREATE FUNCTION pg_temp.lockgate_is_protected(text) RETURNS boolean LANGUAGE sql AS 'SELECT false'",
        "SET search_path = pg_temp, public",
        "UPDATE registered_model_aliases SET version = 2 WHERE alias = 'champion'",
    ],
    "write through a view": [
        "CREATE TEMP VIEW seen AS SELECT * FROM registered_model_aliases",
        "UPDATE seen SET version = 2 WHERE alias = 'champion'",
    ],
    "write through a rule": [
        "CREATE TEMP TABLE mine (version integer)",
        "CREATE RULE on_mine AS ON INSERT TO mine DO INSTEAD "
        "UPDATE registered_model_aliases SET version = NEW.version WHERE alias = 'champion'",
        "INSERT INTO mine VALUES (2)",
    ],
    "write inside a savepoint": [
        "SAVEPOINT here",
        "UPDATE registered_model_aliases SET version = 2 WHERE alias = 'champion'",
        "RELEASE SAVEPOINT here",
    ],
    "write in a common table expression": [
        "WITH moved AS (UPDATE registered_model_aliases SET version = 2 WHERE alias = 'champion' RETURNING 1) "
        "SELECT * FROM moved"
    ],
    "defer what can be deferred": [
        "SET CONSTRAINTS ALL DEFERRED",
        "UPDATE registered_model_aliases SET version = 2 WHERE alias = 'champion'",
    ],
}
#: Of who may do more than write: a superuser's session, or the owner's, that is no longer told by triggers.
AS_SUPERUSER = {
    "replay as a replica": [
        "SET session_replication_role = replica",
        "UPDATE registered_model_aliases SET version = 2 WHERE alias = 'champion'",
    ],
    "truncate": ["TRUNCATE registered_model_aliases"],
    "truncate all": ["TRUNCATE registered_models CASCADE"],
}
ON_SQLITE = {
    "replace the alias": [ALIAS.format(alias="champion", version=2).replace("INSERT", "INSERT OR REPLACE")],
    "replace the version": [
        VERSION.format(name="fraud", version=1, stage="None").replace("INSERT", "INSERT OR REPLACE")
    ],
    "replace by an update": [
        "UPDATE OR REPLACE registered_model_aliases SET alias = 'champion' WHERE alias = 'canary'"
    ],
    "replace the number": [
        "UPDATE OR REPLACE model_versions SET version = 1 WHERE name = 'fraud' AND version = 2"
    ],
}  # fmt: skip


def check(attack: list[str], unguarded: Database, guarded: Database, role: str | None) -> None:
    assert unguarded.would_serve(*attack) != unguarded.serving(), "the attack does nothing"
    before = guarded.serving()
    with pytest.raises(DBAPIError) as refused:
        guarded.run(*attack, role=role)
    said = str(refused.value.orig)
    assert re.search("Lockgate|approv|stage of MLflow|stays so", said), said
    assert guarded.serving() == before


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_sql_is_refused(attack: str, kind: str, unguarded: Databases, guarded: Databases) -> None:
    role = ROLES.others if kind == "postgresql" else None
    check(ATTACKS[attack], unguarded(kind), guarded(kind), role)


@pytest.mark.parametrize("attack", [*ON_POSTGRESQL, *AS_SUPERUSER])
def test_tricks_of_postgresql_are_refused(attack: str, unguarded: Databases, guarded: Databases) -> None:
    role = ROLES.others if attack in ON_POSTGRESQL else None
    tricks = {**ON_POSTGRESQL, **AS_SUPERUSER}
    check(tricks[attack], unguarded("postgresql"), guarded("postgresql"), role)


@pytest.mark.parametrize("attack", ON_SQLITE)
def test_tricks_of_sqlite_are_refused(attack: str, unguarded: Databases, guarded: Databases) -> None:
    check(ON_SQLITE[attack], unguarded("sqlite"), guarded("sqlite"), None)


def test_copying_into_the_table_is_refused(unguarded: Databases, guarded: Databases) -> None:
    columns = "registered_model_aliases (workspace, name, alias, version)"

    def copy(uri: str) -> None:
        connecting = psycopg.connect(uri)
        with (
            connecting as connection,
            connection.cursor() as cursor,
            cursor.copy(f"COPY {columns} FROM STDIN") as copying,
        ):
            copying.write_row(("default", "other", "champion", 2))

    copy(unguarded("postgresql").uri)
    unguarded("postgresql").run("DELETE FROM registered_model_aliases WHERE name = 'other'")
    with pytest.raises(psycopg.errors.CheckViolation, match="Lockgate protects alias:champion"):
        copy(as_role(guarded("postgresql").uri, ROLES.others))


def test_what_nobody_protects_moves_and_the_history_knows(fresh: Database) -> None:
    """As with the stock server; but the database has seen it."""
    fresh.run("UPDATE registered_model_aliases SET version = 3 WHERE alias = 'canary'")
    fresh.run("UPDATE model_versions SET current_stage = 'Staging' WHERE name = 'other' AND version = 2")
    fresh.run("DELETE FROM registered_model_aliases WHERE alias = 'canary'")
    fresh.run("UPDATE registered_models SET name = 'renamed' WHERE name = 'other'")
    fresh.run("UPDATE model_versions SET description = 'better' WHERE name = 'fraud' AND version = 1")
    held = fresh.rows(
        "SELECT h.model_id, h.target, v.number, h.until IS NULL, h.behind, h.by_id, h.decision_id "
        "FROM lockgate_holders h JOIN lockgate_versions v ON v.id = h.version_id "
        "WHERE h.target IN ('alias:canary', 'stage:Staging') ORDER BY h.id"
    )
    assert held == [
        ("fraud", "alias:canary", 2, False, True, None, None),
        ("fraud", "alias:canary", 3, False, True, None, None),
        ("other", "stage:Staging", 2, True, True, None, None),
    ]


def test_a_grant_lets_exactly_one_move_through(fresh: Database) -> None:
    fresh.run(*forge(FITS), MOVE)
    assert fresh.serving()["champion"] == [2]
    assert fresh.rows("SELECT count(*) FROM lockgate_grants") == [(0,)]
    held = fresh.rows(
        "SELECT version_id, since, until, decision_id IS NULL, behind FROM lockgate_holders "
        "WHERE target = 'alias:champion' ORDER BY id"
    )
    assert [(v, until, no_decision, bool(behind)) for v, _, until, no_decision, behind in held] == [
        ("fraud1", 7, True, True),
        ("fraud2", None, False, False),
    ]
    assert held[1][1] == 7
    with pytest.raises(DBAPIError, match="Lockgate protects"):
        fresh.run(MOVE.replace("2", "3"))


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(forge("'alias:canary', v.id"), id="decided about another target"),
        pytest.param(forge("'alias:champion', 'fraud3'"), id="decided about another version"),
        pytest.param(
            [*(one.replace("alias:champion", "alias:canary") for one in forge(FITS)[:2]), *forge(FITS)[2:]],
            id="decided and granted for another target",
        ),
        pytest.param(
            [*(one.replace("v.number = 2", "v.number = 3") for one in forge(FITS)[:2]), *forge(FITS)[2:]],
            id="decided and granted for another version",
        ),
        pytest.param(forge("'alias:champion', NULL"), id="decided to clear it"),
        pytest.param(forge(FITS, digest="sha256:b"), id="decided on other evidence"),
        pytest.param(forge(FITS)[:-1], id="no grant to take the other out"),
        pytest.param([*forge(FITS)[:1], *forge(FITS)[2:]], id="no grant to put this one in"),
        pytest.param(forge(FITS, change="loss"), id="a grant to take it out"),
        pytest.param(
            ["INSERT INTO lockgate_grants (change, model_id, version_id, target, evidence_digest, at) "
             "VALUES ('gain', 'fraud', 'fraud2', 'alias:champion', '', 7), "
             "('loss', 'fraud', 'fraud1', 'alias:champion', '', 7)"],
            id="no decision",
        ),
        pytest.param(
            [forge(FITS)[0].replace("'break-glass'", "'promotion'"), *forge(FITS)[1:]], id="a promotion without a request"
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", BACKENDS)
def test_a_grant_that_does_not_fit_is_none(kind: str, guarded: Databases, forged: list[str]) -> None:
    before = guarded(kind).serving()
    with pytest.raises(DBAPIError, match="Lockgate protects"):
        guarded(kind).run(*forged, MOVE)
    assert guarded(kind).serving() == before


def test_a_decision_within_a_savepoint_is_one(fresh: Database) -> None:
    """A call that is made once goes on in savepoints of its first transaction."""
    decided, *granted = forge(FITS)
    fresh.run("SAVEPOINT one", decided, "RELEASE SAVEPOINT one", "SAVEPOINT two", *granted, MOVE)
    assert fresh.serving()["champion"] == [2]


def test_a_decision_is_good_for_one_move(fresh: Database) -> None:
    fresh.run(*forge(FITS), MOVE)
    back = [*forge(FITS)[:0], MOVE.replace("2", "1")]
    with pytest.raises(DBAPIError, match="Lockgate protects"):
        fresh.run(*back)
    again = [statement.replace("'gain'", "'loss'") for statement in grants()[:1]]
    with pytest.raises(DBAPIError, match="Lockgate protects"):
        fresh.run(*again, "DELETE FROM registered_model_aliases WHERE alias = 'champion'", *grants(), INSERT_BACK)


def test_nor_for_two_within_its_own_transaction(fresh: Database) -> None:
    decided, gain, loss = forge(FITS)
    back = [gain.replace("'gain'", "'loss'"), "DELETE FROM registered_model_aliases WHERE alias = 'champion'"]
    with pytest.raises(DBAPIError, match="comes there only by an approved"):
        fresh.run(decided, gain, loss, MOVE, *back, gain, INSERT_BACK)


INSERT_BACK = ALIAS.format(alias="champion", version=2)


def test_no_two_versions_are_brought_into_one_stage(fresh: Database) -> None:
    """Whatever else goes wrong: decisions and grants for both are there, as a faulty server would write them."""
    for version in (2, 3):
        decided, granted, _ = forge("'stage:Production', v.id")
        into_production = [
            statement.replace("alias:champion", "stage:Production").replace("v.number = 2", f"v.number = {version}")
            for statement in (decided, granted)
        ]
        move = f"UPDATE model_versions SET current_stage = 'Production' WHERE name = 'fraud' AND version = {version}"
        if version == 2:
            fresh.run(*into_production, move)
        else:
            with pytest.raises(DBAPIError, match=r"(?i)unique"):
                fresh.run(*into_production, move)
    assert fresh.serving()["production"] == [1, 2]  # 1 was there before Lockgate


def test_a_grant_that_was_left_is_worth_nothing(new_database: Callable[[str], str]) -> None:
    """On PostgreSQL; on SQLite the server leaves none."""
    database = known(prepared("postgresql", new_database("postgresql")))
    database.run(*forge(FITS))
    with pytest.raises(DBAPIError, match="Lockgate protects"):
        database.run(MOVE)
    with pytest.raises(DBAPIError, match="Lockgate protects"):
        database.run(*grants(), MOVE)  # the decision is of another transaction


@pytest.mark.parametrize(
    "rewriting",
    [
        "UPDATE lockgate_holders SET since = 0",
        "UPDATE lockgate_holders SET decision_id = 1",
        "UPDATE lockgate_holders SET behind = false, by_id = 1",
        "UPDATE lockgate_holders SET until = 9",
        "DELETE FROM lockgate_holders",
        "INSERT INTO lockgate_holders (model_id, target, version_id, since) VALUES ('fraud', 'alias:champion', 'fraud2', 1)",
        "INSERT INTO lockgate_holders (model_id, target, version_id, since) VALUES ('fraud', 'alias:champion', 'fraud1', 1)",
        "INSERT INTO lockgate_holders (model_id, target, version_id, since, until) "
        "VALUES ('fraud', 'alias:champion', 'fraud1', 1, 2)",
    ],
)
@pytest.mark.parametrize("kind", BACKENDS)
def test_nobody_writes_the_history(kind: str, guarded: Databases, rewriting: str) -> None:
    before = guarded(kind).rows("SELECT * FROM lockgate_holders")
    with pytest.raises(DBAPIError, match="history of who held"):
        guarded(kind).run(rewriting)
    assert guarded(kind).rows("SELECT * FROM lockgate_holders") == before


def test_one_request_for_the_same_thing_is_alive(fresh: Database) -> None:
    for state in ("withdrawn", "withdrawn", "approved"):
        fresh.run(REQUEST.format(state=state))
    with pytest.raises(DBAPIError, match=r"(?i)unique"):
        fresh.run(REQUEST.format(state="open"))


def test_what_was_approved_keeps_its_content(fresh: Database) -> None:
    change = "UPDATE model_versions SET source = 'file:///evil' WHERE name = 'fraud' AND version = 3"
    fresh.run(change)
    fresh.run(REQUEST.format(state="approved"))
    with pytest.raises(DBAPIError, match="approved as it is"):
        fresh.run(change.replace("evil", "worse"))
