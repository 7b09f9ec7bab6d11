"""How what a database has differs from the guard that belongs there, each difference a sentence."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, text

from lockgate.database.guard import script
from lockgate.database.guard.script import Function, Trigger

#: What the guard's triggers run on.
TABLES = (
    "model_versions",
    "registered_model_aliases",
    "registered_models",
    "lockgate_holders",
    "lockgate_audit",
    "lockgate_decisions",
)
SOLE = "lockgate_holders_sole"
_SEARCH_PATH = ["search_path=pg_catalog, pg_temp"]

_OWNER = text("SELECT relowner FROM pg_class WHERE oid = to_regclass('model_versions')")
_SCHEMA = text(
    "SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.oid = to_regclass('model_versions')"
)
_FUNCTIONS = text("""
    SELECT p.proname AS name, p.prosrc AS body, l.lanname AS language, p.prosecdef AS as_owner, p.proconfig AS settings,
           p.proowner AS owner,
           EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)
               AS is_public
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('model_versions'))
      AND p.proname LIKE 'lockgate\\_%'
""")
_TRIGGERS = text("""
    SELECT t.tgname AS name, c.relname AS table, p.proname AS function, t.tgtype AS bits, t.tgenabled AS enabled,
           t.tgqual IS NULL AND t.tgattr = '' AND NOT t.tgdeferrable AS is_unconditional, c.relowner AS owner
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('model_versions'))
      AND NOT t.tgisinternal
""")
_POSTGRESQL_INDEX = text("SELECT indisunique AND indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
_PIECES = text("SELECT type, name, sql FROM sqlite_master WHERE type IN ('view', 'trigger')")
_SQLITE_INDEX = text("SELECT sql LIKE 'CREATE UNIQUE INDEX%' FROM sqlite_master WHERE type = 'index' AND name = :name")


def differences(connection: Connection) -> list[str]:
    """Return how the database's guard differs from the one that belongs there; nothing if it doesn't."""
    on_postgresql = connection.dialect.name == "postgresql"
    wrong = _on_postgresql(connection) if on_postgresql else _on_sqlite(connection)
    index = connection.execute(_POSTGRESQL_INDEX if on_postgresql else _SQLITE_INDEX, {"name": SOLE}).scalar()
    return wrong if index else [*wrong, f"The index {SOLE} is missing."]


def schema_of(connection: Connection) -> str:
    """Return the schema of MLflow's tables, quoted, on PostgreSQL."""
    return str(connection.execute(_SCHEMA).scalar_one())


def _on_postgresql(connection: Connection) -> list[str]:
    owner = connection.execute(_OWNER).scalar_one()
    functions = {row.name: row for row in connection.execute(_FUNCTIONS)}
    triggers = {row.name: row for row in connection.execute(_TRIGGERS)}
    return [
        *(
            f"The function {function.name} {difference}."
            for function in script.functions(schema_of(connection))
            if (difference := _of_function(function, functions.get(function.name), owner))
        ),
        *(
            f"The trigger {trigger.name} on {trigger.table} {difference}."
            for trigger in script.triggers()
            if (difference := _of_trigger(trigger, triggers.get(trigger.name), owner))
        ),
    ]


def idle_triggers(connection: Connection) -> list[str]:
    """Return the guard's triggers that are missing or switched off, whatever they are: a newer server has its own."""
    if connection.dialect.name == "postgresql":
        always = {row.name for row in connection.execute(_TRIGGERS) if row.enabled == "A"}
        names = [trigger.name for trigger in script.triggers()]
    else:
        always = {row.name for row in connection.execute(_PIECES)}
        names = [piece.name for piece in script.pieces() if piece.kind == "trigger"]
    return [f"The trigger {name} is missing or switched off." for name in names if name not in always]


def strange_triggers(connection: Connection) -> list[str]:
    """Return the triggers on guarded tables that are not part of the guard, on PostgreSQL."""
    ours = {trigger.name for trigger in script.triggers()}
    found = (row for row in connection.execute(_TRIGGERS) if row.table in TABLES and row.name not in ours)
    return [f"There is a trigger {row.name} on {row.table} that is not part of the guard." for row in found]


def _of_function(expected: Function, found: Row[Any] | None, owner: int) -> str | None:
    if found is None:
        return "is missing"
    if (found.body, found.language) != (expected.body, expected.language):
        return "is another one"
    if found.as_owner != expected.as_owner or list(found.settings or ()) != _SEARCH_PATH:
        return "runs with other rights or another search path"
    if found.owner != owner:
        return "belongs to somebody else than MLflow's tables do"
    return "may be called by everybody" if found.is_public else None


def _of_trigger(expected: Trigger, found: Row[Any] | None, owner: int) -> str | None:
    if found is None:
        return "is missing"
    if found.enabled != "A":
        return "is switched off, or does not always fire"
    known = (found.table, found.function, found.bits, found.is_unconditional)
    if known != (expected.table, expected.function, expected.bits, True):
        return "is another one"
    return "is on a table that belongs to somebody else than MLflow's other tables do" if found.owner != owner else None


def _on_sqlite(connection: Connection) -> list[str]:
    found: Mapping[tuple[str, str], str] = {
        (row.type, row.name): row.sql for row in connection.execute(_PIECES) if row.name.startswith("lockgate_")
    }
    return [
        f"The {piece.kind} {piece.name} is {'another one' if (piece.kind, piece.name) in found else 'missing'}."
        for piece in script.pieces()
        if found.get((piece.kind, piece.name)) != piece.sql
    ]
