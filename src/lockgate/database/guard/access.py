"""Who may do what the guard rests on, on PostgreSQL: whatever a role comes by, a grant, a column, another role."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, text

from lockgate.database.guard.differences import strange_triggers
from lockgate.database.guard.roles import SECRET

#: Ours with what lets somebody in: hashes of passwords and tokens, and keys.
_SECRETS = ("lockgate_tokens", "lockgate_principals", "lockgate_signing_keys", *sorted(SECRET))
_GUARDED = ("model_versions", "registered_model_aliases", "registered_models")

# Everybody who may sign in, but for superusers, the tables' owner and whoever asks; and who is everybody.
_ROLES = """
    SELECT r.oid, r.rolname::text AS name FROM pg_roles r
    WHERE r.rolcanlogin AND NOT r.rolsuper AND r.rolname <> current_user
      AND r.oid <> (SELECT relowner FROM pg_class WHERE oid = to_regclass('model_versions'))
    UNION ALL SELECT 0, 'PUBLIC'
"""
# What everybody may is told once.
_WRITERS = text(f"""
    WITH roles AS ({_ROLES}), tables AS (
        SELECT c.oid, c.relname::text AS name FROM pg_class c
        WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('model_versions'))
          AND c.relkind IN ('r', 'p')
          AND (c.relname LIKE 'lockgate\\_%' OR c.relname = ANY(:guarded) OR c.relname = ANY(:secrets))
    ), rights AS (
        SELECT r.name AS role, t.name AS table, w.may FROM roles r CROSS JOIN tables t
        CROSS JOIN LATERAL (VALUES
            ('SELECT', t.name = ANY(:secrets) AND has_any_column_privilege(r.oid, t.oid, 'SELECT')),
            ('INSERT', t.name LIKE 'lockgate\\_%' AND has_any_column_privilege(r.oid, t.oid, 'INSERT')),
            ('UPDATE', t.name LIKE 'lockgate\\_%' AND has_any_column_privilege(r.oid, t.oid, 'UPDATE')),
            ('DELETE', t.name LIKE 'lockgate\\_%' AND has_table_privilege(r.oid, t.oid, 'DELETE')),
            ('TRUNCATE', has_table_privilege(r.oid, t.oid, 'TRUNCATE')),
            ('TRIGGER', has_table_privilege(r.oid, t.oid, 'TRIGGER'))
        ) AS w (may, is_so)
        WHERE w.is_so
    )
    SELECT r.role, r.table, string_agg(r.may, ', ' ORDER BY r.may) AS may FROM rights r
    WHERE r.role = 'PUBLIC' OR NOT EXISTS (
        SELECT FROM rights p WHERE p.role = 'PUBLIC' AND p.table = r.table AND p.may = r.may)
    GROUP BY r.role, r.table ORDER BY 1, 3, 2
""")  # noqa: S608 - of constants
_INSIDERS = text(f"""
    SELECT r.name AS role, o.rolname::text AS owner, n.nspname::text AS schema,
           r.oid <> 0 AND pg_has_role(r.oid, o.oid, 'MEMBER') AS is_owner,
           has_schema_privilege(r.oid, n.oid, 'CREATE')
               OR r.oid <> 0 AND pg_has_role(r.oid, n.nspowner, 'MEMBER') AS may_create
    FROM ({_ROLES}) r
    CROSS JOIN (SELECT relowner, relnamespace FROM pg_class WHERE oid = to_regclass('model_versions')) c
    JOIN pg_roles o ON o.oid = c.relowner
    JOIN pg_namespace n ON n.oid = c.relnamespace
    ORDER BY 1
""")  # noqa: S608 - of constants
_OWNERS = text("""
    SELECT c.relname AS table, c.relowner::regrole::text AS owner,
           (SELECT relowner::regrole::text FROM pg_class WHERE oid = to_regclass('model_versions')) AS expected
    FROM pg_class c
    WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('model_versions'))
      AND c.relkind = 'r' AND (c.relname LIKE 'lockgate\\_%' OR c.relname = ANY(:guarded))
      AND c.relowner <> (SELECT relowner FROM pg_class WHERE oid = to_regclass('model_versions'))
    ORDER BY 1
""")
_CONNECTED = text("""
    SELECT r.rolname::text AS name, r.rolsuper AS is_superuser, pg_has_role(r.oid, c.relowner, 'MEMBER') AS is_owner
    FROM pg_roles r, pg_class c WHERE r.rolname = current_user AND c.oid = to_regclass('model_versions')
""")


def who_else_may(connection: Connection) -> list[str]:
    """Return what roles other than the owner and the one that is connected may do that the guard rests on."""
    if connection.dialect.name != "postgresql":
        return []
    return [
        *strange_triggers(connection),
        *_insiders(connection),
        *_writers(connection),
        *(
            f"{row.table} belongs to {row.owner}, model_versions to {row.expected}. `lockgate init-db` gives both to "
            "one."
            for row in connection.execute(_OWNERS, {"guarded": list(_GUARDED)})
        ),
    ]


def _insiders(connection: Connection) -> Iterator[str]:
    for row in connection.execute(_INSIDERS):
        if row.is_owner:
            yield f"{row.role} is a member of {row.owner}, who owns the tables. REVOKE {row.owner} FROM {row.role}."
        elif row.may_create:
            yield (
                f"{row.role} may create in the schema {row.schema}, or owns it. REVOKE CREATE ON SCHEMA {row.schema} "
                f"FROM {row.role}, or give schema and database to {row.owner}."
            )


def _writers(connection: Connection) -> Iterator[str]:
    rows = connection.execute(_WRITERS, {"guarded": list(_GUARDED), "secrets": list(_SECRETS)})

    def by_right(row: Row[Any]) -> tuple[str, str]:
        return row.role, row.may

    for (role, may), group in groupby(rows, by_right):
        tables = ", ".join(row.table for row in group)
        yield f"{role} may {may} on {tables}. Take that away (REVOKE, also from roles that it is a member of)."


def who_is_connected(connection: Connection) -> list[str]:
    """Return a sentence if the server itself signs in as somebody who could take the guard away."""
    if connection.dialect.name != "postgresql":
        return []
    found = connection.execute(_CONNECTED).one()
    if not (found.is_superuser or found.is_owner):
        return []
    who = "a superuser" if found.is_superuser else "the owner of the tables"
    return [
        f"The server signs in to the database as {found.name}, {who}: whoever has its password can take the guard "
        "away. `lockgate init-db` makes it a role of its own."
    ]
