"""What `mlflow db upgrade` does to the guard, and the guard to it.

Since the migration that the guard's tables need (workspaces), MLflow has migrated other tables only. So its real migrations
run under the guard here, and what one would do that changes or rebuilds a guarded table is done with Alembic's own
operations, as theirs do it.
"""

import subprocess
import sys
from collections.abc import Callable

import pytest
from alembic import command
from alembic.migration import MigrationContext
from alembic.operations import Operations
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base as FirstTables
from sqlalchemy import NullPool, String, create_engine
from sqlalchemy.exc import DBAPIError

from lockgate.database.engine import engine_for, real_uri
from lockgate.database.guard.differences import differences
from lockgate.database.guard.placing import put_in_place, take_away
from lockgate.database.migrate import _migrate, alone
from tests.adversarial.serving_database import ALIAS, MOVE, VERSION, Database
from tests.conftest import BACKENDS

#: The migration of MLflow's that gives its tables their workspaces.
WORKSPACES = "1b5f0d9ad7c1"


def of_an_older_mlflow(kind: str, uri: str) -> Database:
    """Return a guarded database with MLflow's tables as they were some migrations ago."""
    real = real_uri(uri)
    engine = create_engine(real, poolclass=NullPool)
    FirstTables.metadata.create_all(engine)
    command.upgrade(_get_alembic_config(real), WORKSPACES)
    with alone(engine_for(real)) as connection:
        _migrate(connection)
    database = Database(kind, uri)
    # By SQL: MLflow's store would migrate it.
    database.run(
        "INSERT INTO registered_models (workspace, name, creation_time) VALUES ('default', 'fraud', 1)",
        *(VERSION.format(name="fraud", version=version, stage="None") for version in (1, 2, 3)),
        ALIAS.format(alias="champion", version=1),
    )
    put_in_place(real)
    return database


def is_whole(database: Database) -> bool:
    with engine_for(real_uri(database.uri)).connect() as connection:
        return differences(connection) == []


@pytest.mark.long
@pytest.mark.parametrize("kind", BACKENDS)
def test_mlflow_migrates_the_database_and_the_guard_stays(kind: str, new_database: Callable[[str], str]) -> None:
    database = of_an_older_mlflow(kind, new_database(kind))
    asked = "SELECT version_num FROM alembic_version"
    assert database.rows(asked) == [(WORKSPACES,)]
    uri = database.uri.replace("postgresql://", "postgresql+psycopg://")
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "db", "upgrade", uri], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert database.rows(asked) != [(WORKSPACES,)]
    assert is_whole(database)
    with pytest.raises(DBAPIError, match="Lockgate protects"):
        database.run(MOVE)


def rebuild(database: Database) -> None:
    """Change a column of a guarded table; on SQLite that makes the table anew."""
    engine = create_engine(real_uri(database.uri), poolclass=NullPool)
    with engine.begin() as connection:
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("registered_model_aliases") as table:
            table.alter_column("alias", existing_type=String(256), type_=String(300), existing_nullable=False)


def test_a_migration_of_a_guarded_table_on_postgresql_keeps_the_guard(new_database: Callable[[str], str]) -> None:
    database = of_an_older_mlflow("postgresql", new_database("postgresql"))
    rebuild(database)
    assert is_whole(database)
    with pytest.raises(DBAPIError, match="Lockgate protects"):
        database.run(MOVE)


def test_a_migration_of_a_guarded_table_on_sqlite_stops_and_loses_nothing(new_database: Callable[[str], str]) -> None:
    database = of_an_older_mlflow("sqlite", new_database("sqlite"))
    before = database.serving()
    with pytest.raises(DBAPIError, match="error in view lockgate_"):
        rebuild(database)
    assert database.serving() == before
    take_away(real_uri(database.uri))
    rebuild(database)
    database.run(MOVE)
    assert not is_whole(database)
    assert put_in_place(real_uri(database.uri))
    assert is_whole(database)
    with pytest.raises(DBAPIError, match="Lockgate protects"):
        database.run(MOVE.replace("2", "3"))
