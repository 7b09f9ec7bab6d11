"""The guard in the database, and what goes past the server: a stock server, a client with the connection string, SQL.

Each attack is first seen to succeed on a database without the guard, then refused on one with it.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import Connection, NullPool, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from lockgate.database.engine import engine_for, real_uri
from lockgate.database.guard.differences import differences
from lockgate.database.guard.placing import put_in_place, take_away
from lockgate.database.guard.roles import Roles, set_up, who_else_may
from lockgate.database.migrate import alone, prepare_database
from lockgate.database.tables import audit
from tests.conftest import BACKENDS
from tests.house import House, acting, stock_server

MODEL = "fraud"
ROLES = Roles("keeper", "lockgate_app", "notebook")

Connect = Callable[[], Any]


@dataclass(frozen=True)
class Database:
    """A database in which version 1 of a model serves production and champion, and 2 and 3 would like to."""

    kind: str
    uri: str

    def run(self, *statements: str, role: str | None = None) -> None:
        """Do what somebody with the connection string could: all of it in one transaction."""
        with self._connected(role) as connection:
            for statement in statements:
                connection.execute(text(statement))
            connection.commit()

    def would_serve(self, *statements: str) -> dict[str, Any]:
        """Return what would be served after some statements, which are taken back."""
        with self._connected(None) as connection:
            for statement in statements:
                connection.execute(text(statement))
            found = serving(connection)
            connection.rollback()
            return found

    def serving(self) -> dict[str, Any]:
        """Return what is served."""
        return self.would_serve()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self._connected(None) as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    @contextmanager
    def _connected(self, role: str | None) -> Iterator[Connection]:
        engine = create_engine(real_uri(as_role(self.uri, role)), poolclass=NullPool)
        with engine.connect() as connection:
            if self.kind == "sqlite":
                # As MLflow does, and before a transaction, in which it would do nothing.
                connection.connection.cursor().execute("PRAGMA foreign_keys = ON")
            yield connection


def serving(connection: Connection) -> dict[str, Any]:
    """Return what production and champion serve, in whatever words, and what version 1 is."""
    asked = {
        "production": "SELECT version FROM model_versions WHERE workspace = 'default' AND name = 'fraud' AND lower(current_stage) = 'production'",
        "champion": "SELECT version FROM registered_model_aliases WHERE name = 'fraud' AND alias = 'champion'",
        "content": "SELECT source, storage_location, run_id, current_stage FROM model_versions "
        "WHERE workspace = 'default' AND name = 'fraud' AND version = 1",
    }
    found = {what: connection.execute(text(question)).all() for what, question in asked.items()}
    return {
        "production": sorted(row[0] for row in found["production"]),
        "champion": sorted(row[0] for row in found["champion"]),
        "content": [tuple(row) for row in found["content"]],
    }


def as_role(uri: str, role: str | None) -> str:
    if role is None:
        return uri
    return make_url(uri).set(username=role, password="").render_as_string(hide_password=False)


def prepared(kind: str, uri: str) -> Database:
    real = real_uri(uri)
    prepare_database(real)
    store = SqlAlchemyStore(real)
    store.create_registered_model(MODEL)
    store.create_registered_model("other")
    for source in ("file:///one", "file:///two", "file:///three"):
        store.create_model_version(MODEL, source)
        store.create_model_version("other", source)
    store.transition_model_version_stage(MODEL, 1, "Production", False)
    store.set_registered_model_alias(MODEL, "champion", "1")
    store.set_registered_model_alias(MODEL, "canary", "2")
    store.engine.dispose()
    return Database(kind, uri)


def known(database: Database) -> Database:
    """Guard a database that knows the model, its versions and somebody who decides."""
    database.run(
        "INSERT INTO lockgate_principals (name, kind, active, created_at) VALUES ('sue', 'user', true, 0)",
        "INSERT INTO lockgate_models (id, workspace, name, created_at, adopted) "
        "SELECT name, workspace, name, creation_time, false FROM registered_models",
        "INSERT INTO lockgate_versions (id, model_id, number, created_at) "
        "SELECT name || version, name, version, creation_time FROM model_versions",
    )
    put_in_place(real_uri(database.uri))
    return database


Databases = Callable[[str], Database]


@pytest.fixture(scope="module")
def unguarded(new_database: Callable[[str], str]) -> Databases:
    """A database of each kind without the guard; tests take back what they do."""
    return cache(lambda kind: prepared(kind, new_database(kind)))


@pytest.fixture(scope="module")
def guarded(new_database: Callable[[str], str]) -> Databases:
    """A guarded database of each kind, for what is refused and so changes nothing."""

    @cache
    def make(kind: str) -> Database:
        made = known(prepared(kind, new_database(kind)))
        if kind == "postgresql":
            with alone(engine_for(real_uri(made.uri))) as connection:
                set_up(connection, ROLES)
        return made

    return make


@pytest.fixture(params=BACKENDS)
def fresh(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> Database:
    """A guarded database of a test's own."""
    return known(prepared(request.param, new_database(request.param)))


VERSION = (
    "INSERT INTO model_versions (workspace, name, version, creation_time, current_stage, source, status) "
    "VALUES ('default', '{name}', {version}, 0, '{stage}', 'file:///evil', 'READY')"
)
ALIAS = "INSERT INTO registered_model_aliases (workspace, name, alias, version) VALUES ('default', 'fraud', '{alias}', {version})"

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


def forge(decided: str, digest: str = "sha256:a", at: int = 7, change: str = "gain") -> list[str]:
    """A decision and a grant for version 2 of the model to become champion, as they would be written."""
    return [
        "INSERT INTO lockgate_decisions "
        "(kind, model_id, target, version_id, policy_version, evidence_digest, by_id, reason, at) "
        f"SELECT 'break-glass', m.id, {decided}, 0, '{digest}', 1, '', 7 FROM lockgate_models m "
        "JOIN lockgate_versions v ON v.model_id = m.id AND v.number = 2 WHERE m.name = 'fraud'",
        *grants(change, at),
    ]


def grants(change: str = "gain", at: int = 7) -> list[str]:
    return [
        "INSERT INTO lockgate_grants (change, model_id, version_id, target, decision_id, evidence_digest, at) "
        f"SELECT '{change}', m.id, v.id, 'alias:champion', (SELECT max(id) FROM lockgate_decisions), 'sha256:a', {at} "
        "FROM lockgate_models m JOIN lockgate_versions v ON v.model_id = m.id AND v.number = 2 WHERE m.name = 'fraud'",
        "INSERT INTO lockgate_grants (change, model_id, version_id, target, decision_id, evidence_digest, at) "
        f"SELECT 'loss', m.id, v.id, 'alias:champion', (SELECT max(id) FROM lockgate_decisions), '', {at} "
        "FROM lockgate_models m JOIN lockgate_versions v ON v.model_id = m.id AND v.number = 1 WHERE m.name = 'fraud'",
    ]


MOVE = "UPDATE registered_model_aliases SET version = 2 WHERE alias = 'champion'"
FITS = "'alias:champion', v.id"


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


REQUEST = (
    "INSERT INTO lockgate_requests (workspace, model_id, version_id, target, state, requester_id, comment, created_at,"
    " expires_at, policy_version, evidence, evidence_digest, gates, outcome) VALUES ('default', 'fraud', 'fraud3', "
    "'alias:champion', '{state}', 1, '', 0, 0, 0, '', '', '', '')"
)


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


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TRIGGER lockgate_guard_aliases ON registered_model_aliases",
        "ALTER TABLE registered_model_aliases DISABLE TRIGGER lockgate_guard_aliases",
        "ALTER TABLE registered_model_aliases ENABLE TRIGGER lockgate_guard_aliases",
        "ALTER TABLE model_versions DISABLE TRIGGER ALL",
        "CREATE OR REPLACE FUNCTION lockgate_is_protected(of_target text) RETURNS boolean LANGUAGE sql "
        "SET search_path = pg_catalog, pg_temp AS 'SELECT false'",
        "ALTER FUNCTION lockgate_guard_versions() SECURITY INVOKER",
        "ALTER FUNCTION lockgate_guard_versions() RESET search_path",
        "ALTER FUNCTION lockgate_guard_versions() OWNER TO stranger",
        "GRANT EXECUTE ON FUNCTION lockgate_gain TO PUBLIC",
        "DROP INDEX lockgate_holders_sole",
    ],
)
def test_damage_on_postgresql_is_found_and_put_right(damage: str, guarded_copy: Database) -> None:
    guarded_copy.run(
        "DO 'BEGIN CREATE ROLE stranger; EXCEPTION WHEN duplicate_object OR unique_violation THEN END'",
        damage,
    )
    with engine_for(real_uri(guarded_copy.uri)).connect() as connection:
        assert differences(connection)
    assert put_in_place(real_uri(guarded_copy.uri))
    with engine_for(real_uri(guarded_copy.uri)).connect() as connection:
        assert differences(connection) == []
    guarded_copy.run("UPDATE registered_model_aliases SET version = 1 WHERE alias = 'champion'")
    with pytest.raises(DBAPIError, match="Lockgate protects"):
        guarded_copy.run(MOVE)


def test_the_doctor_is_told_who_else_may_what(guarded_copy: Database) -> None:
    guarded_copy.run(
        "DO 'BEGIN CREATE ROLE stranger; EXCEPTION WHEN duplicate_object OR unique_violation THEN END'",
        "GRANT INSERT ON lockgate_grants TO stranger",
        "GRANT TRIGGER ON model_versions TO PUBLIC",
        "CREATE TRIGGER zz_undo BEFORE UPDATE ON registered_model_aliases FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "ALTER TABLE lockgate_holders OWNER TO stranger",
    )
    with engine_for(real_uri(guarded_copy.uri)).connect() as connection:
        told = " ".join(who_else_may(connection))
    for expected in (
        "trigger zz_undo on registered_model_aliases",
        "stranger may INSERT on lockgate_grants",
        "PUBLIC may TRIGGER on model_versions",
        "lockgate_holders belongs to stranger",
    ):
        assert expected in told


@pytest.fixture(scope="module")
def guarded_copy(new_database: Callable[[str], str]) -> Database:
    database = prepared("postgresql", new_database("postgresql"))
    put_in_place(real_uri(database.uri))
    return database


def test_a_table_that_was_rebuilt_on_sqlite_is_noticed_and_its_moves_followed(
    new_database: Callable[[str], str],
) -> None:
    """As MLflow's own migrations rebuild tables there: the triggers go with the old one."""
    database = prepared("sqlite", new_database("sqlite"))
    database.run(
        "INSERT INTO lockgate_models (id, workspace, name, created_at, adopted) "
        "SELECT name, workspace, name, creation_time, false FROM registered_models"
    )
    put_in_place(real_uri(database.uri))
    path = database.uri.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as file, file:
        made = file.execute("SELECT sql FROM sqlite_master WHERE name = 'registered_model_aliases'").fetchone()[0]
        file.execute("PRAGMA legacy_alter_table = ON")
        file.execute(made.replace("registered_model_aliases", "rebuilt", 1))
        file.execute("INSERT INTO rebuilt SELECT * FROM registered_model_aliases")
        file.execute("DROP TABLE registered_model_aliases")
        file.execute("ALTER TABLE rebuilt RENAME TO registered_model_aliases")
        file.execute(MOVE)
    assert any("lockgate_guard_aliases" in sentence for sentence in put_in_place(real_uri(database.uri)))
    held = database.rows("SELECT v.number, h.until IS NULL, h.behind FROM lockgate_holders h "
                         "JOIN lockgate_versions v ON v.id = h.version_id WHERE h.target = 'alias:champion' ORDER BY h.id")  # fmt: skip
    assert [tuple(map(int, row)) for row in held] == [(1, 0, 1), (2, 1, 1)]
    with pytest.raises(DBAPIError, match="Lockgate protects"):
        database.run(MOVE.replace("2", "3"))


def test_the_others_may_use_mlflows_tables_and_read_no_secret(guarded: Databases) -> None:
    database = guarded("postgresql")
    database.run(
        "INSERT INTO experiment_tags SELECT 'a', 'b', experiment_id FROM experiments LIMIT 0", role=ROLES.others
    )
    database.run("UPDATE model_versions SET description = 'mine' WHERE name = 'other'", role=ROLES.others)
    for forbidden in (
        "SELECT * FROM lockgate_tokens",
        "SELECT password_hash FROM lockgate_principals",
        "SELECT * FROM secrets",
        "INSERT INTO lockgate_grants (change, model_id, version_id, target, evidence_digest, at) VALUES ('', '', '', '', '', 0)",
        "DELETE FROM lockgate_protected",
        "UPDATE lockgate_requests SET state = 'approved'",
        "SELECT lockgate_gain('default', 'fraud', 2, 'alias:champion')",
        "ALTER TABLE model_versions DISABLE TRIGGER ALL",
        "DROP TRIGGER lockgate_guard_versions ON model_versions",
        "TRUNCATE model_versions",
        "SET session_replication_role = replica",
        "CREATE TABLE public.mine (x integer)",
        "SET ROLE keeper",
    ):
        with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
            database.run(forbidden, role=ROLES.others)
    for forbidden in (
        "UPDATE lockgate_holders SET until = 1",
        "DELETE FROM lockgate_decisions",
        "UPDATE lockgate_audit SET actor = 'eve'",
        "DELETE FROM lockgate_audit",
        "TRUNCATE lockgate_audit",
        "DROP TABLE runs",
    ):
        with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
            database.run(forbidden, role=ROLES.app)


# A stock server


@contextmanager
def stock(folder: Path, uri: str) -> Iterator[Any]:
    server = stock_server(folder, uri.replace("postgresql://", "postgresql+psycopg2://"))
    server.start()
    try:
        with acting(server.uri, None) as client:
            yield client
    finally:
        server.stop()


STOCK_ATTACKS: dict[str, Callable[[Any], Any]] = {
    "alias": lambda client: client.set_registered_model_alias(MODEL, "champion", "2"),
    "delete alias": lambda client: client.delete_registered_model_alias(MODEL, "champion"),
    "stage": lambda client: client.transition_model_version_stage(MODEL, "2", "Production"),
    "archive": lambda client: client.transition_model_version_stage(MODEL, "2", "Production", True),
    "unstage": lambda client: client.transition_model_version_stage(MODEL, "1", "None"),
    "delete version": lambda client: client.delete_model_version(MODEL, "1"),
    "rename": lambda client: client.rename_registered_model(MODEL, "gone"),
    "delete model": lambda client: client.delete_registered_model(MODEL),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", BACKENDS)
def test_a_stock_server_is_refused_with_our_sentence(
    kind: str, new_database: Callable[[str], str], guarded: Databases, tmp_path: Path
) -> None:
    open_to_all, kept = prepared(kind, new_database(kind)), guarded(kind)
    with stock(tmp_path, open_to_all.uri) as client:
        for attack in ("alias", "stage", "delete model"):
            STOCK_ATTACKS[attack](client)
    assert open_to_all.serving() == {"production": [], "champion": [], "content": []}

    before = kept.serving()
    role = ROLES.others if kind == "postgresql" else None
    with stock(tmp_path, as_role(kept.uri, role)) as client:
        for attack in STOCK_ATTACKS.values():
            with pytest.raises(MlflowException, match="Lockgate protects") as refused:
                attack(client)
            # MLflow takes whatever goes wrong with a rename for a name that is taken.
            assert refused.value.error_code in ("BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")
        client.set_registered_model_alias("other", "canary", "1")
        client.create_registered_model("new")
        House.new_version(client, "new")
        client.transition_model_version_stage("new", "1", "Staging")
        client.rename_registered_model("new", "newer")
        client.delete_model_version("newer", "1")
        client.delete_registered_model("newer")
    assert kept.serving() == before
