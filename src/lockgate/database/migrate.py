"""Bringing a database up to date: MLflow's tables by MLflow's own migrations, ours by ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
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
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from lockgate.database.engine import MIGRATES, engine_for
from lockgate.database.tables import writers
from lockgate.database.writers import SCHEMA
from lockgate.errors import BadInput, Outdated, Refused

VERSION_TABLE = "lockgate_alembic_version"
#: Any number that nobody else in the database uses for an advisory lock: "lockgate" as bytes, cut to 63 bits.
_MIGRATION_LOCK = int.from_bytes(b"lockgate") >> 1
#: What to look at when a database is out of reach.
_HINTS = {
    "postgresql": "Is the URI right (--backend-store-uri), and is the server up? A database that isn't there yet is "
    "made with `createdb NAME`.",
    "sqlite": "Is the path right (--backend-store-uri sqlite:///FILE)? Is its folder there, and may the server write "
    "to it?",
}


class Schema(StrEnum):
    """What the schema of our tables is to this code, in the words of `/readyz`."""

    CURRENT = "ok"
    BEHIND = "behind: start a server, which migrates the database"
    #: A newer version of Lockgate has migrated the database, and this one still works with it.
    AHEAD = "ahead"
    TOO_NEW = "this server is older than the database and only reads; restart it with the new version"


#: What a newer version of Lockgate has migrated.
NEWER = frozenset({Schema.AHEAD, Schema.TOO_NEW})


def prepare_database(uri: str) -> None:
    """Create or take over a database.

    MLflow's tables are created if they are missing. If they are there but of another schema, MLflow says so
    and nothing is changed. Ours are created or upgraded. A lock lets one server do all that at a time, on whatever
    host. A database that a newer Lockgate migrated is taken as it is, as long as this one may write to it.

    Args:
        uri: The database, as `real_uri` returns it.

    Raises:
        MlflowException: if MLflow's schema is not the one of the installed MLflow.
        BadInput: if our schema is too new for this code, or the database can't be reached.
        Refused: if ours must be upgraded, and the database's role may not.
    """
    engine = engine_for(uri)
    _check_reachable(engine)
    with turn(engine):
        # MLflow's migrations rebuild tables on SQLite and must not run on our engine, which enforces foreign keys.
        mlflow_engine = create_sqlalchemy_engine_with_retry(uri)
        try:
            _safe_initialize_tables(mlflow_engine)
            _verify_schema(mlflow_engine)
        finally:
            mlflow_engine.dispose()
        with engine.execution_options(**{MIGRATES: True}).begin() as connection:
            _migrate(connection)


def _check_reachable(engine: Engine) -> None:
    try:
        engine.connect().close()
    except OperationalError as error:
        hint = _HINTS[engine.dialect.name]
        raise BadInput(f"The database can't be used: {str(error.orig).strip()}\n{hint}") from error


@contextmanager
def alone(engine: Engine) -> Iterator[Connection]:
    """Run the block in a transaction that changes what the database consists of; no other server does at that time."""
    with engine.execution_options(**{MIGRATES: True}).begin() as connection:
        _take_turn(connection)
        yield connection


@contextmanager
def turn(engine: Engine) -> Iterator[None]:
    """Keep other servers from preparing the same database at the same time. Not to be taken twice, nor with `alone`."""
    if engine.dialect.name != "postgresql":
        yield  # a file, where MLflow's own lock on a file serves for its tables, and writing itself for ours
        return
    with engine.begin() as connection:
        _take_turn(connection)
        yield


def _take_turn(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})


def _migrate(connection: Connection) -> None:
    match _state(connection):
        case Schema.BEHIND:
            _upgrade(connection)
        case Schema.TOO_NEW:
            raise BadInput(
                f"A newer version of Lockgate has migrated this database, and this one (which knows schema {SCHEMA}) "
                "would do harm to it. Nothing was changed. Start the new version."
            )


def _upgrade(connection: Connection) -> None:
    try:
        command.upgrade(_config(connection), "head")
    except ProgrammingError as error:
        if not isinstance(error.orig, InsufficientPrivilege):
            raise
        who = connection.engine.url.username
        raise Refused(
            f"This version of Lockgate needs other tables, and the database does not let {who} change them. Run "
            "`lockgate init-db` of this version, with the URI of a role that may."
        ) from error


def check_is_not_newer(connection: Connection) -> None:
    """Refuse to put in place of what a newer Lockgate made of a database what this one knows of it.

    Raises:
        Outdated: if a newer Lockgate has migrated the database.
    """
    if _state(connection) in NEWER:
        raise Outdated(
            f"A newer version of Lockgate has migrated this database, and has a guard of its own there that this one "
            f"(which knows schema {SCHEMA}) must not replace or remove. Nothing was changed. Use the new version."
        )


def schema_of(engine: Engine) -> Schema:
    """Say what the schema of our tables in a database is to this code."""
    with engine.connect() as connection:
        return _state(connection)


def _state(connection: Connection) -> Schema:
    found = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    scripts = ScriptDirectory.from_config(_config(connection))
    if found == scripts.get_current_head():
        return Schema.CURRENT
    if found is None or found in {script.revision for script in scripts.walk_revisions()}:
        return Schema.BEHIND
    return Schema.TOO_NEW if connection.execute(select(writers.c.minimum)).scalar_one() > SCHEMA else Schema.AHEAD


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
