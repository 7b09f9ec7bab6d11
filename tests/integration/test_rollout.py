"""Servers that start together, old ones beside new ones, and servers that are told to stop."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from subprocess import PIPE

import httpx
import psycopg
import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from mlflow.exceptions import MlflowException
from sqlalchemy import Engine, text

from lockgate.database import migrate
from lockgate.database.engine import MIGRATES, engine_for, real_uri
from lockgate.database.writers import SCHEMA, shut_out_writers_before
from lockgate.errors import BadInput, Outdated
from lockgate.registry.transaction import transaction
from tests.adversarial.test_race import querying
from tests.conftest import BACKENDS
from tests.house import House

TARGET = "stage:Production"


def test_the_number_of_the_schema_is_that_of_the_newest_migration() -> None:
    folder = Path(migrate.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_current_head() == f"{SCHEMA:04}"


def test_three_servers_start_together_on_an_empty_database(new_database: Callable[[str], str], tmp_path: Path) -> None:
    database = new_database("postgresql")
    with ExitStack() as stack:
        # As on three hosts: MLflow's own lock is a file in the folder for temporary files.
        houses = []
        for name in ("one", "two", "three"):
            (tmp_path / name / "tmp").mkdir(parents=True)
            house = House(tmp_path / name, database, environment={"TMPDIR": str(tmp_path / name / "tmp")})
            houses.append(stack.enter_context(closing(house)))
        with ThreadPoolExecutor(len(houses)) as threads:
            list(threads.map(lambda house: house.server.start(), houses))
        for house in houses:
            assert httpx.get(f"{house.uri}/readyz").json() == {
                "database": "ok",
                "migrations": "ok",
                "guard": "ok",
            }
            assert house.call("admin", "GET", "/principals")["principals"]
        with querying(database) as query:
            assert query("SELECT COUNT(*) FROM lockgate_alembic_version") == [(1,)]
            assert query("SELECT COUNT(*) FROM alembic_version") == [(1,)]
            assert query("SELECT COUNT(*) FROM lockgate_principals WHERE name = 'admin'") == [(1,)]
            assert query("SELECT COUNT(*) FROM experiments") == [(1,)]


PREPARE = """
import sys
from lockgate.database.migrate import prepare_database
print("imported", flush=True)
sys.stdin.readline()
prepare_database(sys.argv[1])
"""


def test_an_empty_database_is_prepared_by_one_server_at_a_time(
    new_database: Callable[[str], str], tmp_path: Path
) -> None:
    """Three at the very same moment, which those that start together seldom are."""
    database = real_uri(new_database("postgresql"))
    with ExitStack() as stack:
        preparing = []
        for number in range(3):
            (tmp_path / str(number)).mkdir()
            environment = {**os.environ, "TMPDIR": str(tmp_path / str(number))}
            command = [sys.executable, "-c", PREPARE, database]
            process = subprocess.Popen(command, env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
            preparing.append(stack.enter_context(process))
        for process in preparing:
            assert process.stdout is not None
            assert process.stdout.readline() == "imported\n"
        for process in preparing:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in preparing:
            _, said = process.communicate(timeout=120)
            assert process.returncode == 0, said[-2000:]


def test_an_old_server_on_a_newer_schema_reads_and_writes_as_long_as_it_may(
    new_database: Callable[[str], str], tmp_path: Path
) -> None:
    with closing(House(tmp_path, new_database("postgresql"))) as house:
        house.open()
        model = house.new_model(versions=2)
        house.promote(model, "1", TARGET)
        asked = house.ask(model, "2", TARGET)
        house.sql("UPDATE lockgate_alembic_version SET version_num = '9998'")
        ready = httpx.get(f"{house.uri}/readyz")
        assert (ready.status_code, ready.json()["migrations"]) == (200, "ahead")
        assert ready.json()["guard"] == "there; a newer server's, so it was not compared"
        house.call("sue", "POST", f"/requests/{asked['id']}/comment", {"comment": "written"})

        house.sql("UPDATE lockgate_writers SET minimum = 9998")
        ready = httpx.get(f"{house.uri}/readyz")
        assert (ready.status_code, ready.json()["migrations"]) == (
            503,
            "this server is older than the database and only reads; restart it with the new version",
        )
        refused = house.call("sue", "POST", f"/requests/{asked['id']}/approve", {}, 409)
        assert "Restart it with the new version" in refused["message"]
        with house.acting_as("ada") as client:
            with pytest.raises(MlflowException, match="older than the database") as told:
                client.set_registered_model_alias(model, "any", "1")
            assert told.value.error_code == "RESOURCE_CONFLICT"
            assert client.get_model_version(model, "1").current_stage == "Production"
        # Reads go on, also those that would end what is overdue, or judge it anew.
        house.sql("UPDATE lockgate_requests SET expires_at = 1")
        assert house.call("vic", "GET", f"/requests/{asked['id']}")["state"] == "open"
        assert house.call("vic", "GET", f"/requests?model={model}")["requests"]
        house.server.stop()
        with pytest.raises(RuntimeError, match="Start the new version"):
            house.server.start()
        house.sql(f"UPDATE lockgate_writers SET minimum = {SCHEMA}")
        house.server.start()


NEWER_GUARD = "UPDATE pg_proc SET prosrc = prosrc || ' -- newer' WHERE proname = 'lockgate_is_protected'"


@pytest.mark.parametrize("minimum", [SCHEMA, 9998])
def test_an_old_server_does_not_put_its_guard_over_a_newer_one(
    new_database: Callable[[str], str], tmp_path: Path, minimum: int
) -> None:
    with closing(House(tmp_path, new_database("postgresql"))) as house:
        house.open()
        house.sql("UPDATE lockgate_alembic_version SET version_num = '9998'")
        house.sql(f"UPDATE lockgate_writers SET minimum = {minimum}")
        house.sql(NEWER_GUARD)
        told = house.call("admin", "POST", "/doctor/repair", status=409)
        assert "Use the new version" in told["message"]
        for arguments in (["init-db"], ["doctor", "--remove-guard"]):
            refused = house.cli("admin", *arguments, "--backend-store-uri", house.backend)
            assert refused.returncode == 1
            assert "newer version" in " ".join(refused.stderr.split()), refused.stderr
        with querying(house.backend) as query:
            assert query("SELECT COUNT(*) FROM pg_proc WHERE prosrc LIKE '%-- newer'") == [(1,)]
        # Its own triggers it knows, whatever they do now.
        house.sql("ALTER TABLE registered_model_aliases DISABLE TRIGGER lockgate_guard_aliases")
        ready = httpx.get(f"{house.uri}/readyz")
        assert (ready.status_code, ready.json()["guard"]) == (503, "not as it should be: `lockgate doctor` says more")


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> Engine:
    uri = real_uri(new_database(request.param))
    migrate.prepare_database(uri)
    return engine_for(uri)


def raise_minimum(engine: Engine, change: Callable[[], None] = lambda: None) -> None:
    """Migrate, as a migration that shuts out old writers."""
    with engine.execution_options(**{MIGRATES: True}).begin() as connection:
        with Operations.context(MigrationContext.configure(connection)):
            shut_out_writers_before("9998")
        change()


def write(engine: Engine) -> None:
    with transaction(engine) as session:
        session.execute(text("DELETE FROM lockgate_calls"))


def test_no_write_follows_a_migration_that_shuts_out_old_writers(engine: Engine) -> None:
    with ThreadPoolExecutor(2) as threads:
        with transaction(engine) as session:
            session.execute(text("DELETE FROM lockgate_calls"))
            migrating = threads.submit(raise_minimum, engine)
            time.sleep(0.3)
            assert not migrating.done()  # It waits for who writes already.
        migrating.result(timeout=20)
    with pytest.raises(Outdated, match="older than the database"):
        write(engine)


def test_who_waits_for_a_migration_sees_what_it_did(engine: Engine) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = []
        for _ in range(8):  # as often as makes psycopg prepare a statement
            write(engine)

        def begin() -> None:
            waiting.append(threads.submit(write, engine))
            time.sleep(0.3)
            assert not waiting[0].done()

        raise_minimum(engine, begin)
        with pytest.raises(Outdated):
            waiting[0].result(timeout=20)


def test_a_database_of_a_newer_lockgate_is_not_migrated_back(engine: Engine) -> None:
    with engine.execution_options(**{MIGRATES: True}).begin() as connection:
        connection.execute(text("UPDATE lockgate_alembic_version SET version_num = '9998'"))
        migrate._migrate(connection)
        connection.execute(text("UPDATE lockgate_writers SET minimum = 9998"))
        with pytest.raises(BadInput, match="newer version"):
            migrate._migrate(connection)


def test_a_server_that_is_told_to_stop_finishes_what_is_under_way(
    new_database: Callable[[str], str], tmp_path: Path
) -> None:
    with closing(House(tmp_path, new_database("postgresql"))) as house, ExitStack() as stack:
        house.open()
        asked = house.ask(house.new_model(), "1", TARGET)
        holding = stack.enter_context(psycopg.connect(house.backend, autocommit=True))
        assert house.server.process is not None
        with ThreadPoolExecutor(1) as threads:
            # It waits for the model's row, which somebody else holds.
            holding.execute("BEGIN")
            holding.execute("SELECT name FROM registered_models FOR UPDATE")
            calling = threads.submit(house.call, "sue", "POST", f"/requests/{asked['id']}/approve", {})
            time.sleep(0.5)
            house.server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            with pytest.raises(httpx.TransportError):
                httpx.get(f"{house.uri}/healthz")
            assert not calling.done()
            holding.execute("ROLLBACK")
            assert calling.result(timeout=20)["state"] == "approved"
        assert house.server.process.wait(15) is not None
