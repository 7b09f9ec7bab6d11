"""How what a database has differs from the guard that belongs there, each difference a sentence."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex

from lockgate.database.guard import script
from lockgate.database.guard.script import Function, Trigger
from lockgate.database.tables import holders

#: What the guard's triggers run on.
TABLES = (
    "model_versions",
    "registered_model_aliases",
    "registered_models",
    "lockgate_holders",
    "lockgate_audit",
    "lockgate_decisions",
)
#: The second net: of what decisions bring to a target, one is there.
SOLE = next(index for index in holders.indexes if index.name == "lockgate_holders_sole")
_SEARCH_PATH = ["search_path=pg_catalog, pg_temp"]

_OWNER = text("SELECT relowner FROM pg_class WHERE oid = to_regclass('model_versions')")
_SCHEMA = text(
    "SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.oid = to_regclass('model_versions')"
)
_FUNCTIONS = text("""
    SELECT w.signature, p.oid::regprocedure::text AS shown, p.prosrc AS body, l.lanname AS language,
           p.prosecdef AS as_owner, p.proconfig AS settings, p.proowner AS owner,
           p.provolatile = 'v' AND NOT p.proisstrict AS is_plain,
           EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)
               AS is_public
    FROM pg_proc p
    JOIN pg_language l ON l.oid = p.prolang
    LEFT JOIN unnest(CAST(:signatures AS text[])) AS w (signature) ON to_regprocedure(w.signature) = p.oid
    WHERE p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('model_versions'))
      AND p.proname LIKE 'lockgate\\_%'
    ORDER BY 2
""")
_TRIGGERS = text("""
    SELECT t.tgname AS name, c.relname AS table, p.proname AS function, t.tgtype AS bits, t.tgenabled AS enabled,
           t.tgqual IS NULL AND t.tgattr = '' AND NOT t.tgdeferrable AS is_unconditional, c.relowner AS owner
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('model_versions'))
      AND NOT t.tgisinternal
""")
_INDEX = text("SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indexrelid = to_regclass(:name) AND indisvalid")
_SOLE_ON_POSTGRESQL = (
    "CREATE UNIQUE INDEX lockgate_holders_sole ON {schema}.lockgate_holders USING btree (model_id, target) "
    "WHERE ((until IS NULL) AND (decision_id IS NOT NULL))"
)
_PIECES = text("SELECT type, name, sql FROM sqlite_master WHERE type IN ('view', 'trigger')")
_INDEX_SQL = text("SELECT sql FROM sqlite_master WHERE type = 'index' AND name = :name")


def differences(connection: Connection) -> list[str]:
    """Return how the database's guard differs from the one that belongs there; nothing if it doesn't."""
    on_postgresql = connection.dialect.name == "postgresql"
    wrong = _on_postgresql(connection) if on_postgresql else _on_sqlite(connection)
    is_whole = _sole_on_postgresql(connection) if on_postgresql else _sole_on_sqlite(connection)
    return wrong if is_whole else [*wrong, f"The index {SOLE.name} is missing, or another one."]


def _sole_on_postgresql(connection: Connection) -> bool:
    schema = schema_of(connection)
    found = connection.execute(_INDEX, {"name": f"{schema}.{SOLE.name}"}).scalar()
    return bool(found == _SOLE_ON_POSTGRESQL.format(schema=schema))


def _sole_on_sqlite(connection: Connection) -> bool:
    expected = str(CreateIndex(SOLE).compile(dialect=sqlite.dialect()))
    return bool(connection.execute(_INDEX_SQL, {"name": SOLE.name}).scalar() == expected)


def schema_of(connection: Connection) -> str:
    """Return the schema of MLflow's tables, quoted, on PostgreSQL."""
    return str(connection.execute(_SCHEMA).scalar_one())


def _on_postgresql(connection: Connection) -> list[str]:
    owner = connection.execute(_OWNER).scalar_one()
    expected = script.functions(schema_of(connection))
    found = connection.execute(_FUNCTIONS, {"signatures": [function.signature for function in expected]}).all()
    functions = {row.signature: row for row in found if row.signature is not None}
    triggers = {row.name: row for row in connection.execute(_TRIGGERS)}
    return [
        *(
            f"The function {function.name} {difference}."
            for function in expected
            if (difference := _of_function(function, functions.get(function.signature), owner))
        ),
        *(f"The function {row.shown} is not part of the guard." for row in found if row.signature is None),
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
    if not found.is_plain:
        return "is not always run, or looks at an earlier state"
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
    ours = {(piece.kind, piece.name): piece.sql for piece in script.pieces()}
    return [
        *(
            f"The {kind} {name} is {'another one' if (kind, name) in found else 'missing'}."
            for (kind, name), sql in ours.items()
            if found.get((kind, name)) != sql
        ),
        *(f"The {kind} {name} is not part of the guard." for kind, name in found if (kind, name) not in ours),
    ]
