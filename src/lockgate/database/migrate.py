"""Bringing a database up to date: MLflow's tables by MLflow's own migrations, ours by ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from mlflow.store.db.utils import (
    _safe_initialize_tables,
    _verify_schema,
    create_sqlalchemy_engine_with_retry,
)
from sqlalchemy import Connection, Engine, text

from lockgate.database.engine import engine_for

VERSION_TABLE = "lockgate_alembic_version"
#: Any number that nobody else in the database uses for an advisory lock: "lockgate" as bytes, cut to 63 bits.
_MIGRATION_LOCK = int.from_bytes(b"lockgate") >> 1


def prepare_database(uri: str) -> None:
    """Create or take over a database.

    MLflow's tables are created if they are missing. If they are there but of another schema, MLflow says so
    and nothing is changed. Ours are created or upgraded; a lock lets one process do it at a time.

    Args:
        uri: The database, as `real_uri` returns it.

    Raises:
        MlflowException: if MLflow's schema is not the one of the installed MLflow.
    """
    # MLflow's migrations rebuild tables on SQLite and must not run on our engine, which enforces foreign keys.
    mlflow_engine = create_sqlalchemy_engine_with_retry(uri)
    try:
        _safe_initialize_tables(mlflow_engine)
        _verify_schema(mlflow_engine)
    finally:
        mlflow_engine.dispose()
    with alone(engine_for(uri)) as connection:
        command.upgrade(_config(connection), "head")


@contextmanager
def alone(engine: Engine) -> Iterator[Connection]:
    """Run the block in a transaction that changes what the database consists of; no other process does at that time."""
    with engine.execution_options(lockgate_writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        yield connection


def schema_is_current(engine: Engine) -> bool:
    """Say whether our tables are of the schema that this code expects."""
    with engine.connect() as connection:
        found = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        expected = ScriptDirectory.from_config(_config(connection)).get_current_head()
        return found.get_current_revision() == expected


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
