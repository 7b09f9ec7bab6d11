"""Roles on PostgreSQL: what those may whom the guard binds, and who else may what it rests on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url
from sqlalchemy.exc import DBAPIError

from lockgate.database import migrate
from lockgate.database.engine import engine_for, real_uri
from lockgate.database.guard.access import who_else_may, who_is_connected
from lockgate.database.guard.placing import put_in_place
from lockgate.database.guard.roles import Roles, set_up
from lockgate.database.migrate import alone, prepare_database
from lockgate.errors import BadInput, Refused
from tests.adversarial.serving_database import MOVE, ROLES, Database, Databases, as_role, prepared


def test_the_others_may_use_mlflows_tables_and_read_no_secret(guarded: Databases) -> None:
    database = guarded("postgresql")
    database.run("SELECT * FROM webhooks", role=ROLES.others)
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
        "INSERT INTO webhooks (webhook_id, workspace, name, url, status, creation_timestamp, last_updated_timestamp) "
        "VALUES ('x', 'default', 'x', 'http://evil', 'ACTIVE', 0, 0)",
        "DELETE FROM webhook_events",
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


def taken_back(database: Database, statements: list[str], look: Callable[[Connection], Any]) -> Any:
    """Return what is seen after some statements, which are taken back."""
    with engine_for(real_uri(database.uri)).connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        found = look(connection)
        connection.rollback()
        return found


@pytest.mark.parametrize(
    ("granted", "told"),
    [
        ("GRANT INSERT ON lockgate_grants TO newcomer", "newcomer may INSERT on lockgate_grants"),
        ("GRANT UPDATE (state) ON lockgate_requests TO newcomer", "newcomer may UPDATE on lockgate_requests"),
        ("GRANT TRIGGER ON model_versions TO PUBLIC", "PUBLIC may TRIGGER on model_versions"),
        ("GRANT SELECT (digest) ON lockgate_tokens TO newcomer", "newcomer may SELECT on lockgate_tokens"),
        ("GRANT CREATE ON SCHEMA public TO newcomer", "newcomer may create in the schema public"),
        ("ALTER SCHEMA public OWNER TO newcomer", "newcomer may create in the schema public"),
        ("GRANT postgres TO newcomer", "newcomer is a member of postgres"),
        ("GRANT DELETE ON lockgate_protected TO club; GRANT club TO newcomer", "newcomer may DELETE on lockgate_protected"),
        ("ALTER TABLE lockgate_holders OWNER TO newcomer", "lockgate_holders belongs to newcomer"),
        (
            "CREATE TRIGGER zz_undo BEFORE UPDATE ON registered_model_aliases FOR EACH ROW "
            "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "trigger zz_undo on registered_model_aliases",
        ),
    ],
)  # fmt: skip
def test_the_doctor_is_told_who_else_may_what(granted: str, told: str, guarded_copy: Database) -> None:
    made = ["CREATE ROLE newcomer LOGIN", "CREATE ROLE club", "REVOKE CREATE ON SCHEMA public FROM PUBLIC"]
    assert taken_back(guarded_copy, made, who_else_may) == []
    found = taken_back(guarded_copy, [*made, *granted.split("; ")], who_else_may)
    assert any(told in sentence for sentence in found), found


def test_reading_what_is_no_secret_is_no_finding(guarded_copy: Database) -> None:
    made = ["CREATE ROLE newcomer LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC"]
    assert taken_back(guarded_copy, [*made, "GRANT SELECT ON lockgate_holders TO newcomer"], who_else_may) == []


def test_the_doctor_notes_a_server_that_could_take_the_guard_away(guarded: Databases) -> None:
    database = guarded("postgresql")
    with engine_for(real_uri(database.uri)).connect() as connection:
        (noted,) = who_is_connected(connection)
    assert "as postgres, a superuser" in noted
    for role, count in ((ROLES.owner, 1), (ROLES.app, 0)):
        with engine_for(real_uri(as_role(database.uri, role))).connect() as connection:
            assert len(who_is_connected(connection)) == count
    with engine_for(real_uri(as_role(database.uri, ROLES.app))).connect() as connection:
        assert who_else_may(connection) == []


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (["ALTER ROLE newcomer SUPERUSER"], "is a superuser"),
        (["ALTER ROLE newcomer CREATEROLE"], "may make roles"),
        (["ALTER SCHEMA public OWNER TO newcomer"], "owns the schema"),
        (["ALTER DATABASE {database} OWNER TO newcomer"], "owns the database"),
        (["CREATE ROLE landlord", "GRANT landlord TO newcomer"], "is a member of landlord"),
        (["CREATE ROLE porter", "GRANT porter TO newcomer"], "is a member of porter"),
        (["GRANT CREATE ON SCHEMA public TO newcomer", "ALTER TABLE model_versions OWNER TO newcomer",
          "SET ROLE newcomer"], "is who runs this"),
    ],
)  # fmt: skip
def test_a_role_that_the_guard_would_not_bind_is_refused(made: list[str], why: str, guarded_copy: Database) -> None:
    name = make_url(guarded_copy.uri).database
    statements = ["CREATE ROLE newcomer LOGIN", *(statement.format(database=name) for statement in made)]

    def refused(connection: Connection) -> str:
        with pytest.raises(BadInput) as error:
            set_up(connection, Roles("landlord", "porter", "newcomer"))
        return str(error.value)

    assert why in taken_back(guarded_copy, statements, refused)


def test_rights_from_before_are_taken_away(new_database: Callable[[str], str]) -> None:
    """As many have them: CREATE on the schema, with which functions of the guard get namesakes."""
    database = prepared("postgresql", new_database("postgresql"))
    database.run(
        f"DO 'BEGIN CREATE ROLE {ROLES.others} LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END'",
        f"GRANT ALL ON SCHEMA public TO {ROLES.others}",
        f"GRANT SELECT, UPDATE ON registered_model_aliases TO {ROLES.others}",
    )
    database.run(
        "CREATE FUNCTION public.lockgate_planted() RETURNS void SECURITY DEFINER LANGUAGE sql "
        "AS 'ALTER TABLE public.registered_model_aliases DISABLE TRIGGER lockgate_guard_aliases'",
        role=ROLES.others,
    )
    put_in_place(real_uri(database.uri))
    assert database.rows("SELECT 1 FROM pg_proc WHERE proname = 'lockgate_planted'") == []
    namesake = (
        "CREATE OR REPLACE FUNCTION public.lockgate_{0}(varchar, varchar, integer, text) RETURNS void LANGUAGE sql "
        "AS 'SELECT NULL'"
    )
    with pytest.raises(DBAPIError, match="Lockgate protects"):
        database.run(namesake.format("gain"), namesake.format("lose"), MOVE, role=ROLES.others)
    database.run(
        "CREATE FUNCTION public.lockgate_planted() RETURNS void SECURITY DEFINER LANGUAGE sql AS 'SELECT NULL'",
        role=ROLES.others,
    )
    with alone(engine_for(real_uri(database.uri))) as connection:
        set_up(connection, ROLES)
    asked = "SELECT proowner::regrole::text FROM pg_proc WHERE proname = 'lockgate_planted'"
    assert database.rows(asked) == [(ROLES.others,)]
    with pytest.raises(DBAPIError, match="permission denied for schema"):
        database.run(namesake.format("gain"), role=ROLES.others)


def test_a_server_that_may_not_upgrade_says_who_may(new_database: Callable[[str], str]) -> None:
    database = prepared("postgresql", new_database("postgresql"))
    put_in_place(real_uri(database.uri))
    with alone(engine_for(real_uri(database.uri))) as connection:
        set_up(connection, ROLES)
    newest = database.rows("SELECT version_num FROM lockgate_alembic_version")[0][0]
    before = ScriptDirectory(str(Path(migrate.__file__).parent / "migrations")).get_revision(newest).down_revision
    database.run(f"UPDATE lockgate_alembic_version SET version_num = '{before}'")
    with pytest.raises(Refused, match="lockgate init-db"):
        prepare_database(real_uri(as_role(database.uri, ROLES.app)))
