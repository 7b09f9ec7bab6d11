"""What moves an alias instead of MLflow's own method does what that does."""

from collections.abc import Callable
from typing import Any

import pytest
from mlflow.store.model_registry.dbmodels.models import Base
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import Engine, select

from lockgate.database import tables
from lockgate.database.engine import engine_for, real_uri
from lockgate.registry import pointers
from lockgate.registry.transaction import reading, transaction
from tests.conftest import BACKENDS

WORKSPACE = "default"


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> SqlAlchemyStore:
    """MLflow's own store with two models alike, each with two versions and an alias to the first."""
    store = SqlAlchemyStore(real_uri(new_database(request.param)))
    for name in ("theirs", "ours"):
        store.create_registered_model(name)
        for _ in range(2):
            store.create_model_version(name, "file:///nowhere")
        store.set_registered_model_alias(name, "champion", "1")
    tables.writers.create(engine(store))
    return store


def engine(store: SqlAlchemyStore) -> Engine:
    return engine_for(store.db_uri)


def kept(store: SqlAlchemyStore, name: str) -> dict[str, list[Any]]:
    """Return what the registry's tables hold of a model, but for its name."""
    with reading(engine(store)) as session:
        return {
            table.name: sorted(
                [str(value) for column, value in row._mapping.items() if column != "name"]
                for row in session.execute(select(table).where(table.c.name == name))
            )
            for table in Base.metadata.sorted_tables
            if "workspace" in table.c and "name" in table.c
        }


def timeless(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The times at which the two were made are not of interest."""
    return {
        table: [[value for value in row if not value.isdecimal() or len(value) < 13] for row in found]
        for table, found in rows.items()
    }


def test_an_alias_is_repointed_as_mlflows_own_method_does_it(store: SqlAlchemyStore) -> None:
    before = kept(store, "ours")
    store.set_registered_model_alias("theirs", "champion", "2")
    with transaction(engine(store)) as session:
        assert pointers.repoint(session, WORKSPACE, "ours", "champion", 2)
    after = kept(store, "ours")
    assert timeless(after) == timeless(kept(store, "theirs"))
    assert {table for table in after if after[table] != before[table]} == {"registered_model_aliases"}
    assert store.get_model_version_by_alias("ours", "champion").version == 2


@pytest.mark.parametrize(("alias", "version"), [("challenger", 2), ("champion", 3)])
def test_where_one_of_them_is_not_there_nothing_is_done(store: SqlAlchemyStore, alias: str, version: int) -> None:
    before = kept(store, "ours")
    with transaction(engine(store)) as session:
        assert not pointers.repoint(session, WORKSPACE, "ours", alias, version)
    assert kept(store, "ours") == before
