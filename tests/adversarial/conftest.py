"""Databases without the guard and with it, for attacks on them."""

from collections.abc import Callable
from functools import cache

import pytest

from lockgate.database.engine import engine_for, real_uri
from lockgate.database.guard.placing import put_in_place
from lockgate.database.guard.roles import set_up
from lockgate.database.migrate import alone
from tests.adversarial.serving_database import ROLES, Database, Databases, known, prepared
from tests.conftest import BACKENDS


@pytest.fixture(scope="module")
def unguarded(new_database: Callable[[str], str]) -> Databases:
    """A database of each kind without the guard; tests take back what they do."""
    return cache(lambda kind: prepared(kind, new_database(kind)))


@pytest.fixture(scope="module")
def guarded(new_database: Callable[[str], str]) -> Databases:
    """A guarded database of each kind, for what is refused and so changes nothing."""

    @cache
    def make(kind: str) -> Database:
        made = known(prepared(kind, new_database(kind)))
        if kind == "postgresql":
            with alone(engine_for(real_uri(made.uri))) as connection:
                set_up(connection, ROLES)
        return made

    return make


@pytest.fixture(params=BACKENDS)
def fresh(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> Database:
    """A guarded database of a test's own."""
    return known(prepared(request.param, new_database(request.param)))


@pytest.fixture(scope="module")
def guarded_copy(new_database: Callable[[str], str]) -> Database:
    """A database on PostgreSQL whose guard tests damage."""
    database = prepared("postgresql", new_database("postgresql"))
    put_in_place(real_uri(database.uri))
    return database
