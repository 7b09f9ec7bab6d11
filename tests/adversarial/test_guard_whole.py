"""Is the guard whole, who may what, and what happens to it when MLflow migrates the database?"""

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
from sqlalchemy.exc import DBAPIError

from lockgate.database.engine import engine_for, real_uri
from lockgate.database.guard.differences import differences
from lockgate.database.guard.placing import put_in_place
from tests.adversarial.serving_database import MOVE, Database, prepared


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
        "DROP INDEX lockgate_holders_sole; CREATE INDEX lockgate_holders_sole ON lockgate_holders (model_id, target) "
        "WHERE until IS NULL AND decision_id IS NOT NULL",
        "DROP INDEX lockgate_holders_sole; CREATE UNIQUE INDEX lockgate_holders_sole ON lockgate_holders (id)",
        "ALTER FUNCTION lockgate_allows_gain STRICT",
        "ALTER FUNCTION lockgate_is_decided STABLE",
        "CREATE FUNCTION lockgate_gain(varchar, varchar, integer, text) RETURNS void LANGUAGE sql AS 'SELECT NULL'",
        "CREATE FUNCTION lockgate_planted() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT NULL'",
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
    with pytest.raises(DBAPIError, match="Lockgate protects"):
        guarded_copy.run(MOVE)


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


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TRIGGER lockgate_guard_content",
        "DROP VIEW lockgate_known",
        "CREATE TRIGGER lockgate_undo AFTER UPDATE ON registered_model_aliases BEGIN SELECT 1; END",
        "DROP INDEX lockgate_holders_sole; CREATE UNIQUE INDEX lockgate_holders_sole ON lockgate_holders (id)",
    ],
)
def test_damage_on_sqlite_is_found_and_put_right(damage: str, new_database: Callable[[str], str]) -> None:
    database = prepared("sqlite", new_database("sqlite"))
    put_in_place(real_uri(database.uri))
    with closing(sqlite3.connect(database.uri.removeprefix("sqlite:///"))) as file:
        file.executescript(damage)
    with engine_for(real_uri(database.uri)).connect() as connection:
        assert differences(connection)
    assert put_in_place(real_uri(database.uri))
    with engine_for(real_uri(database.uri)).connect() as connection:
        assert differences(connection) == []
