"""The guard's text belongs to the number of the schema: by it servers of two versions know whose guard is newer."""

import pytest

from lockgate.database.guard.script import fingerprint
from lockgate.database.writers import SCHEMA

PINNED = {
    "postgresql": (6, "1f40b6ae4e329f2d8dbc552077af3b41caf3b22f59a3ad173628a9865a02ce18"),
    "sqlite": (6, "ddf2e686659821ce672ba390c1bd499b2901d623ee79dfbfb06d57850e2f34b3"),
}


@pytest.mark.parametrize("dialect", PINNED)
def test_a_guard_that_changes_comes_with_a_migration(dialect: str) -> None:
    assert (SCHEMA, fingerprint(dialect)) == PINNED[dialect], (
        f"{dialect}.sql of the guard has changed since the newest migration. Add a migration, which may be empty, and "
        "raise SCHEMA (database/writers.py); then pin both here. In a rolling upgrade an old server would else take the "
        "new guard for a broken one: it would not be ready, and would put its own back."
    )
