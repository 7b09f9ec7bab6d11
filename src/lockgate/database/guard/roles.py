"""Roles on PostgreSQL: who owns the tables, who serves Lockgate, and who else may use MLflow's tables."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlflow.store.model_registry.dbmodels.models import Base as RegistryBase
from mlflow.store.tracking.dbmodels.models import Base as TrackingBase
from sqlalchemy import Connection, inspect, text

from lockgate.database.guard.differences import schema_of, strange_triggers
from lockgate.database.tables import metadata

_MLFLOWS = frozenset({*RegistryBase.metadata.tables, *TrackingBase.metadata.tables})
#: Of MLflow's tables, those with what is secret: keys of providers, tokens of jobs. A stock server does not start if it
#: can't read its webhooks; their secrets are encrypted with a key that is not in the database.
SECRET = frozenset({"secrets", "jobs"})
#: Tables that are only ever added to.
APPEND_ONLY = frozenset({"lockgate_holders", "lockgate_decisions", "lockgate_audit"})
_VERSIONS = frozenset({"alembic_version", "lockgate_alembic_version"})

_EXISTS = text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :name)")
_SEQUENCES = text("""
    SELECT s.relname FROM pg_class s
    JOIN pg_depend d ON d.objid = s.oid AND d.deptype IN ('a', 'i')
    JOIN pg_class t ON t.oid = d.refobjid
    WHERE s.relkind = 'S' AND t.relname = ANY(:tables)
      AND t.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('model_versions'))
    ORDER BY 1
""")
_FUNCTIONS = text("""
    SELECT DISTINCT p.oid::regprocedure::text FROM pg_proc p
    WHERE p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('model_versions'))
      AND (p.proname LIKE 'lockgate\\_%' OR p.oid IN (
          SELECT t.tgfoid FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
          WHERE NOT t.tgisinternal AND c.relname = ANY(:tables)))
    ORDER BY 1
""")
_WRITERS = text("""
    SELECT c.relname AS table, coalesce(r.rolname, 'PUBLIC') AS role, string_agg(a.privilege_type, ', ') AS rights
    FROM pg_class c
    CROSS JOIN LATERAL aclexplode(c.relacl) a
    LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('model_versions'))
      AND c.relkind = 'r' AND a.grantee <> c.relowner AND r.rolname IS DISTINCT FROM current_user
      AND (c.relname LIKE 'lockgate\\_%' OR c.relname = ANY(:guarded) AND a.privilege_type = 'TRIGGER')
    GROUP BY 1, 2 ORDER BY 1, 2
""")
_OWNERS = text("""
    SELECT c.relname AS table, c.relowner::regrole::text AS owner,
           (SELECT relowner::regrole::text FROM pg_class WHERE oid = to_regclass('model_versions')) AS expected
    FROM pg_class c
    WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('model_versions'))
      AND c.relkind = 'r' AND (c.relname LIKE 'lockgate\\_%' OR c.relname = ANY(:guarded))
      AND c.relowner <> (SELECT relowner FROM pg_class WHERE oid = to_regclass('model_versions'))
    ORDER BY 1
""")
_GUARDED = ["model_versions", "registered_model_aliases", "registered_models"]


@dataclass(frozen=True)
class Roles:
    """Names of roles."""

    #: Owns all tables and functions, and upgrades them.
    owner: str
    #: What `lockgate server` signs in as.
    app: str
    #: What anything else that uses MLflow's tables signs in as: a stock server, a notebook, a dashboard.
    others: str


def set_up(connection: Connection, roles: Roles) -> list[str]:
    """Let there be the roles, with the rights that each needs and no others.

    Args:
        connection: A transaction of a role that may make roles and owns the tables, or of a superuser.
        roles: Their names.

    Returns:
        The roles that were made; they have no password yet.
    """
    made = [role for role in vars(roles).values() if not connection.execute(_EXISTS, {"name": role}).scalar_one()]
    for statement in _statements(connection, roles, made):
        connection.exec_driver_sql(statement.replace("%", "%%"))
    return made


def _statements(connection: Connection, roles: Roles, made: Iterable[str]) -> Iterator[str]:
    quote = connection.dialect.identifier_preparer.quote_identifier
    owner, app, others = quote(roles.owner), quote(roles.app), quote(roles.others)
    schema = schema_of(connection)
    there = set(inspect(connection).get_table_names())
    theirs = sorted(there & _MLFLOWS)
    ours = sorted(there & set(metadata.tables))
    tables = [*theirs, *ours, *sorted(there & _VERSIONS)]
    yield from (f"CREATE ROLE {quote(role)} LOGIN" for role in made)
    yield f"GRANT {owner} TO CURRENT_USER"
    yield f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"
    yield f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner}"
    yield f"GRANT USAGE ON SCHEMA {schema} TO {app}, {others}"
    for table in tables:
        name = f"{schema}.{quote(table)}"
        yield f"ALTER TABLE {name} OWNER TO {owner}"
        yield f"REVOKE ALL ON {name} FROM PUBLIC, {app}, {others}"
        yield f"GRANT {_rights_of_app(table)} ON {name} TO {app}"
        if table in theirs and table not in SECRET:
            yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {others}"
    if "alembic_version" in there:
        yield f"GRANT SELECT ON {schema}.alembic_version TO {others}"
    for function in connection.execute(_FUNCTIONS, {"tables": tables}).scalars():
        yield f"ALTER FUNCTION {function} OWNER TO {owner}"
    for whose, readers in ((theirs, f"{app}, {others}"), (ours, app)):
        for sequence in connection.execute(_SEQUENCES, {"tables": whose}).scalars():
            yield f"REVOKE ALL ON SEQUENCE {schema}.{quote(sequence)} FROM PUBLIC, {app}, {others}"
            yield f"GRANT USAGE, SELECT ON SEQUENCE {schema}.{quote(sequence)} TO {readers}"


def _rights_of_app(table: str) -> str:
    if table in _VERSIONS:
        return "SELECT"
    return "SELECT, INSERT" if table in APPEND_ONLY else "SELECT, INSERT, UPDATE, DELETE"


def who_else_may(connection: Connection) -> list[str]:
    """Return what roles other than the owner and the one that is connected may do that the guard rests on."""
    if connection.dialect.name != "postgresql":
        return []
    told = strange_triggers(connection)
    told += [
        f"{row.role} may {row.rights} on {row.table}. Take that away (REVOKE), or run `lockgate init-db`."
        for row in connection.execute(_WRITERS, {"guarded": _GUARDED})
    ]
    told += [
        f"{row.table} belongs to {row.owner}, model_versions to {row.expected}. `lockgate init-db` gives both to one."
        for row in connection.execute(_OWNERS, {"guarded": _GUARDED})
    ]
    return told
