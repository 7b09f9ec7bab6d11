"""Roles on PostgreSQL: who owns the tables, who serves Lockgate, and who else may use MLflow's tables."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlflow.store.model_registry.dbmodels.models import Base as RegistryBase
from mlflow.store.tracking.dbmodels.models import Base as TrackingBase
from sqlalchemy import Connection, inspect, text

from lockgate.database.guard import script
from lockgate.database.guard.differences import schema_of
from lockgate.database.tables import metadata
from lockgate.errors import BadInput

_MLFLOWS = frozenset({*RegistryBase.metadata.tables, *TrackingBase.metadata.tables})
#: Of MLflow's tables, those with what is secret: keys of providers, tokens of jobs.
SECRET = frozenset({"secrets", "jobs"})
# Of MLflow's tables, those that others may only read: Lockgate's server calls what they name. A stock server does not
# start if it can't read them; their secrets are encrypted with a key that is not in the database.
_READ_ONLY = frozenset({"webhooks", "webhook_events"})
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
# MLflow's own, of its triggers, which its migrations replace. One that runs with its owner's rights is not MLflow's.
_THEIR_FUNCTIONS = text("""
    SELECT DISTINCT p.oid::regprocedure::text FROM pg_proc p
    JOIN pg_trigger t ON t.tgfoid = p.oid AND NOT t.tgisinternal
    JOIN pg_class c ON c.oid = t.tgrelid
    WHERE p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('model_versions'))
      AND c.relname = ANY(:tables) AND NOT p.prosecdef AND p.proname NOT LIKE 'lockgate\\_%'
    ORDER BY 1
""")
_STANDING = text("""
    SELECT r.rolname::text AS name, r.rolsuper AS is_superuser, r.rolcreaterole AS makes_roles,
           r.rolname = current_user AS is_here,
           EXISTS (SELECT FROM pg_namespace n WHERE n.nspowner = r.oid AND n.oid = c.relnamespace) AS owns_schema,
           EXISTS (SELECT FROM pg_database d
                   WHERE d.datdba = r.oid AND d.datname = current_database()) AS owns_database,
           ARRAY(SELECT o.rolname::text FROM pg_roles o
                 WHERE o.rolname = ANY(:roles) AND o.oid <> r.oid AND pg_has_role(r.oid, o.oid, 'MEMBER')
                 ORDER BY 1) AS member_of
    FROM pg_roles r, pg_class c
    WHERE r.rolname = ANY(:bound) AND c.oid = to_regclass('model_versions')
    ORDER BY 1
""")
_WHO = text("SELECT current_user::text")


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

    Raises:
        BadInput: if `app` or `others` is there already and may more than it is given here.
    """
    _check_bound(connection, roles)
    made = [role for role in vars(roles).values() if not connection.execute(_EXISTS, {"name": role}).scalar_one()]
    for statement in _statements(connection, roles, made):
        connection.exec_driver_sql(statement.replace("%", "%%"))
    return made


def _check_bound(connection: Connection, roles: Roles) -> None:
    """Refuse roles whom the guard would not bind."""
    named = {"roles": [roles.owner, roles.app, roles.others], "bound": [roles.app, roles.others]}
    for row in connection.execute(_STANDING, named):
        reasons = {
            "is a superuser": row.is_superuser,
            "may make roles (CREATEROLE)": row.makes_roles,
            "is who runs this": row.is_here,
            "owns the schema of the tables": row.owns_schema,
            "owns the database": row.owns_database,
            f"is a member of {' and '.join(row.member_of)}": bool(row.member_of),
        }
        found = [reason for reason, is_so in reasons.items() if is_so]
        if found:
            raise BadInput(
                f"The role {row.name} can't be one of those that the guard is there for: it {' and '.join(found)}. "
                "Take that away, or name another role (--app, --others)."
            )


def _statements(connection: Connection, roles: Roles, made: Iterable[str]) -> Iterator[str]:
    quote = connection.dialect.identifier_preparer.quote_identifier
    owner, app, others = quote(roles.owner), quote(roles.app), quote(roles.others)
    schema = schema_of(connection)
    there = set(inspect(connection).get_table_names())
    theirs = sorted(there & _MLFLOWS)
    ours = sorted(there & set(metadata.tables))
    tables = [*theirs, *ours, *sorted(there & _VERSIONS)]
    yield from (f"CREATE ROLE {quote(role)} LOGIN" for role in made)
    if connection.execute(_WHO).scalar_one() != roles.owner:
        yield f"GRANT {owner} TO CURRENT_USER"
    yield f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"
    # Whoever may create there could give the guard's functions namesakes.
    yield f"REVOKE ALL ON SCHEMA {schema} FROM {app}, {others}"
    yield f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner}"
    yield f"GRANT USAGE ON SCHEMA {schema} TO {app}, {others}"
    for table in tables:
        name = f"{schema}.{quote(table)}"
        yield f"ALTER TABLE {name} OWNER TO {owner}"
        yield f"REVOKE ALL ON {name} FROM PUBLIC, {app}, {others}"
        yield f"GRANT {_rights_of_app(table)} ON {name} TO {app}"
        if table in theirs and table not in SECRET:
            yield f"GRANT {_rights_of_others(table)} ON {name} TO {others}"
    if "alembic_version" in there:
        yield f"GRANT SELECT ON {schema}.alembic_version TO {others}"
    ours_by_signature = [function.signature for function in script.functions(schema)]
    for function in [*ours_by_signature, *connection.execute(_THEIR_FUNCTIONS, {"tables": theirs}).scalars()]:
        yield f"ALTER FUNCTION {function} OWNER TO {owner}"
    for whose, readers in ((theirs, f"{app}, {others}"), (ours, app)):
        for sequence in connection.execute(_SEQUENCES, {"tables": whose}).scalars():
            yield f"REVOKE ALL ON SEQUENCE {schema}.{quote(sequence)} FROM PUBLIC, {app}, {others}"
            yield f"GRANT USAGE, SELECT ON SEQUENCE {schema}.{quote(sequence)} TO {readers}"


def _rights_of_app(table: str) -> str:
    if table in _VERSIONS:
        return "SELECT"
    return "SELECT, INSERT" if table in APPEND_ONLY else "SELECT, INSERT, UPDATE, DELETE"


def _rights_of_others(table: str) -> str:
    return "SELECT" if table in _READ_ONLY else "SELECT, INSERT, UPDATE, DELETE"
