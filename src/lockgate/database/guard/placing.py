"""Putting the guard in place, putting it back, and taking it away."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, Engine, Row, bindparam, insert, inspect, select, text
from sqlalchemy.orm import Session

from lockgate.access.principals import LOCKGATE, Caller
from lockgate.audit.entry import AuditEntry
from lockgate.database import policies
from lockgate.database.engine import ClockMs, WritingSession, engine_for, now
from lockgate.database.guard import script
from lockgate.database.guard.differences import SOLE, TABLES, differences, schema_of
from lockgate.database.identities import new_id
from lockgate.database.migrate import alone, check_is_not_newer
from lockgate.database.record import record
from lockgate.database.tables import audit, chain_head, grants, versions
from lockgate.errors import Refused
from lockgate.events.event import EventType

_MAY_CHANGE = text("""
    SELECT current_user AS who, bool_and(pg_has_role(c.relowner, 'USAGE')) AS may
    FROM pg_class c WHERE c.oid IN (SELECT to_regclass(t) FROM unnest(CAST(:tables AS text[])) t)
""")
_IS_THERE = text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :table")
_OWNER = text("SELECT quote_ident(pg_get_userbyid(relowner)) FROM pg_class WHERE oid = to_regclass('model_versions')")
# Also what is not part of the guard but has such a name, as far as this role may.
_OURS = text("""
    SELECT p.oid::regprocedure::text FROM pg_proc p
    WHERE p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('model_versions'))
      AND p.proname LIKE 'lockgate\\_%' AND pg_has_role(p.proowner, 'USAGE')
""")
_PIECES = text("SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view') AND name GLOB 'lockgate_*'")
_UNKNOWN_VERSIONS = text("""
    SELECT DISTINCT m.id AS model_id, s.version AS number, coalesce(s.creation_time, 0) AS created_at
    FROM model_versions s
    JOIN registered_models r ON r.workspace = s.workspace AND r.name = s.name
    JOIN lockgate_models m
      ON m.workspace = s.workspace AND m.name = s.name AND m.deleted_at IS NULL
     AND m.created_at = coalesce(r.creation_time, 0)
    WHERE NOT EXISTS (SELECT 1 FROM lockgate_versions v WHERE v.model_id = m.id AND v.number = s.version)
""")


def put_in_place(uri: str, caller: Caller = LOCKGATE) -> list[str]:
    """Let a database that is prepared have the guard, and the guard know the policy in force.

    What moved while it was not there is taken into the history as moved behind Lockgate's back.

    Args:
        uri: The database, as `real_uri` returns it.
        caller: Who wants it; goes on record if something is missing or wrong.

    Returns:
        What was missing or wrong, in sentences.

    Raises:
        Refused: if something is, and the database's role may not put it right.
        Outdated: if a newer Lockgate has put its own guard there.
    """
    with alone(engine_for(uri)) as connection:
        check_is_not_newer(connection)
        with _session(connection) as session:
            policies.tell_the_guard(session)
            session.commit()
        wrong = differences(connection)
        if wrong:
            _check_may(
                connection,
                "The guard in the database is not as it should be, and the role {who} does not own its tables, so "
                f"it can't change that: {' '.join(wrong[:3])} Run `lockgate init-db` with the URI of a role that may.",
            )
            _hold_still(connection)
            _take_away(connection)
            _follow_drift(connection)
            _create(connection)
            put_on_record(connection, EventType.GUARD_PLACED, {"wrong": wrong}, caller)
        return wrong


def was_there(engine: Engine) -> bool:
    """Say whether a database had a guard, as far as its log goes, before the one that was placed last."""
    placed = select(audit.c.id).where(audit.c.action == EventType.GUARD_PLACED).limit(2)
    with engine.connect() as connection:
        return len(connection.execute(placed).all()) > 1


def put_on_record(
    connection: Connection, action: EventType, after: Mapping[str, Any], caller: Caller = LOCKGATE
) -> None:
    """Write what was done to the database itself into its audit log, if it has one, in the same transaction."""
    if not inspect(connection).has_table(chain_head.name):
        return
    actor_id = caller.principal.id or None
    entry = AuditEntry(action, caller.principal.name, actor_id, caller.address, after=after)
    with _session(connection) as session:
        record(session, entry, now(session))
        session.commit()


def take_away(uri: str) -> None:
    """Remove the guard from a database, on record; its tables stay.

    Raises:
        Refused: if the database's role may not.
        Outdated: if a newer Lockgate has put its own guard there.
    """
    with alone(engine_for(uri)) as connection:
        check_is_not_newer(connection)
        _check_may(
            connection,
            "Only who owns the tables can take the guard out of this database, and the role {who} does not. Give "
            "--backend-store-uri with that role, or a superuser.",
        )
        _take_away(connection)
        if connection.dialect.name == "sqlite":
            _drop_rebuilds(connection)
        put_on_record(connection, EventType.GUARD_REMOVED, {})


def _drop_rebuilds(connection: Connection) -> None:
    """Drop what a migration of MLflow's left that began to rebuild a table and then met the guard; it would be in the
    way of the next one. The table itself is as it was."""
    for table in TABLES:
        if connection.execute(_IS_THERE, {"table": table}).scalar():
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS _alembic_tmp_{table}")


def _session(connection: Connection) -> Session:
    return WritingSession(connection, join_transaction_mode="rollback_only")


def _check_may(connection: Connection, otherwise: str) -> None:
    """Refuse, in a sentence that names `{who}`, what only the owner of the tables may do."""
    if connection.dialect.name != "postgresql":
        return
    found: Row[tuple[str, bool]] = connection.execute(_MAY_CHANGE, {"tables": list(TABLES)}).one()
    if not found.may:
        raise Refused(otherwise.replace("{who}", found.who))


def _hold_still(connection: Connection) -> None:
    """Let nothing move between the drift that is followed and the triggers that see what comes after."""
    if connection.dialect.name == "postgresql":
        schema = schema_of(connection)
        tables = ", ".join(f"{schema}.{table}" for table in TABLES)
        connection.exec_driver_sql(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE")


def _take_away(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        for function in connection.execute(_OURS).scalars().all():
            connection.exec_driver_sql(f"DROP FUNCTION {function} CASCADE")
        return
    for row in connection.execute(_PIECES).all():
        connection.exec_driver_sql(f'DROP {row.type.upper()} IF EXISTS "{row.name}"')


def _create(connection: Connection) -> None:
    SOLE.drop(connection, checkfirst=True)
    SOLE.create(connection)
    if connection.dialect.name == "sqlite":
        for piece in script.pieces():
            connection.exec_driver_sql(piece.sql)
        return
    schema = schema_of(connection)
    # As it is: many statements, and what looks like a place for values is none.
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(script.postgresql(schema))
    # Its functions run with the rights of their owner, who is the tables'; triggers need nobody's right to call them.
    owner = connection.execute(_OWNER).scalar_one()
    for function in script.functions(schema):
        connection.exec_driver_sql(f"ALTER FUNCTION {function.signature} OWNER TO {owner}")
        connection.exec_driver_sql(f"REVOKE ALL ON FUNCTION {function.signature} FROM PUBLIC")


def _follow_drift(connection: Connection) -> None:
    """Bring the history up to what MLflow's tables say, and forget grants that nobody can use any more."""
    at = connection.execute(select(ClockMs())).scalar_one()
    connection.execute(grants.delete())
    unknown = [{**row._mapping, "id": new_id()} for row in connection.execute(_UNKNOWN_VERSIONS)]
    if unknown:
        connection.execute(insert(versions), unknown)
    for statement in script.drift():
        connection.execute(text(statement).bindparams(bindparam("now", at)))
