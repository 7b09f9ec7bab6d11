"""The guard's text belongs to the number of the schema: by it servers of two versions know whose guard is newer."""

import pytest

from lockgate.database.guard.script import fingerprint
from lockgate.database.writers import SCHEMA

PINNED = {
    "postgresql": (11, "dc0853b3dc9928d688bc704311279b050f3251190c39728cc215e74eee5984ec"),
    "sqlite": (11, "3611ec1fa80bd82de8fc2892acab8e29e31351fe940ec0e67d947be4aca3bf42"),
}


@pytest.mark.parametrize("dialect", PINNED)
def test_a_guard_that_changes_comes_with_a_migration(dialect: str) -> None:
    assert (SCHEMA, fingerprint(dialect)) == PINNED[dialect], (
        f"{dialect}.sql of the guard has changed since the newest migration. Add a migration, which may be empty, and "
        "raise SCHEMA (database/writers.py); then pin both here. In a rolling upgrade an old server would else take the "
        "new guard for a broken one: it would not be ready, and would put its own back."
    )
