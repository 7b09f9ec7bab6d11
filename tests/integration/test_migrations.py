"""The migrations make the tables that the code describes; a database out of reach is said to be."""

from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from lockgate.database import tables
from lockgate.database.engine import engine_for, real_uri
from lockgate.database.migrate import prepare_database
from lockgate.errors import BadInput
from tests.conftest import BACKENDS


@pytest.mark.parametrize("kind", BACKENDS)
def test_the_migrations_make_the_tables_that_the_code_describes(kind: str, new_database: Callable[[str], str]) -> None:
    uri = real_uri(new_database(kind))
    prepare_database(uri)

    def is_ours(name: str | None, type_: str, _parents: object) -> bool:
        return type_ != "table" or str(name) in tables.metadata.tables

    with engine_for(uri).connect() as connection:
        # SQLite's own kinds of numbers are no types to compare.
        options = {"include_name": is_ours, "compare_type": kind == "postgresql"}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []


def test_what_to_do_about_a_database_out_of_reach_depends_on_its_kind(postgres: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="made with `createdb NAME`"):
        prepare_database(real_uri(postgres.replace("/postgres?", "/nowhere?")))
    with pytest.raises(BadInput, match="Is its folder there") as refused:
        prepare_database(f"sqlite:///{tmp_path}/nowhere/file.db")
    assert "createdb" not in refused.value.message
