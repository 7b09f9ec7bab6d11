"""Which servers may write to a database: those that know its schema well enough to do no harm.

Several versions of Lockgate run on one database while a new one is rolled out, and the first of them migrates it. Most
migrations only add, and older servers go on; one after which they would break something says so in `lockgate_writers`,
by `shut_out_writers_before`.
"""

from typing import Any

from alembic import op
from sqlalchemy import update

from lockgate.database.tables import writers
from lockgate.errors import Outdated

#: The newest schema that this code knows: the number of the newest migration.
SCHEMA = 11

_MINIMUM = "SELECT minimum FROM lockgate_writers"


def check_may_write(connection: Any) -> None:
    """Refuse to write to a database that has become too new, as a transaction begins.

    On PostgreSQL the lock on the table that reading takes lasts as long as the transaction: a migration that takes the
    table for itself waits for those who write, and who begins later reads what it has written.

    Args:
        connection: The connection, in its new transaction.

    Raises:
        Outdated: if this code is too old for it.
    """
    row = connection.exec_driver_sql(_MINIMUM).first()
    if row is not None and row[0] > SCHEMA:
        connection.exec_driver_sql("ROLLBACK")
        raise Outdated(
            f"This Lockgate server is older than the database (it knows schema {SCHEMA}, and writing needs {row[0]}), "
            "so nothing was changed; it only reads. Restart it with the new version, or call another server."
        )


def shut_out_writers_before(revision: str) -> None:
    """Let no server write any more whose code does not know a migration: for that migration to call as it begins.

    Args:
        revision: The migration's own.
    """
    if op.get_bind().dialect.name == "postgresql":
        op.execute("LOCK TABLE lockgate_writers IN ACCESS EXCLUSIVE MODE")
    op.execute(update(writers).values(minimum=int(revision)))
