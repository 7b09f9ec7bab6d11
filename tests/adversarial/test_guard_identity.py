"""A version stays the one that was decided about, and so does its model: by row, by number, by name and by time."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from lockgate.database.engine import engine_for, real_uri
from lockgate.database.guard.placing import take_away
from lockgate.database.guard.roles import set_up
from lockgate.database.migrate import alone
from tests.adversarial.serving_database import REQUEST, ROLES, VERSION, Database, Databases, known, prepared
from tests.conftest import BACKENDS

#: `staged` has a version in production and `aliased` a champion, each by decision; of `other`, version 3 was approved
#: and version 2 deleted.
MODELS = {
    "staged": ("stage:Production", "UPDATE model_versions SET current_stage = 'Production' WHERE name = 'staged'"),
    "aliased": (
        "alias:champion",
        "INSERT INTO registered_model_aliases (workspace, name, alias, version) "
        "VALUES ('default', 'aliased', 'champion', 7)",
    ),
}
NEW_MODEL = "INSERT INTO registered_models (workspace, name, creation_time) VALUES ('default', '{name}', {at})"


def decided(kind: str, uri: str) -> Database:
    database = known(prepared(kind, uri))
    database.run(
        "UPDATE registered_models SET description = 'x'",
        REQUEST.replace("'fraud', 'fraud3'", "'other', 'other3'").format(state="approved"),
        "UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE name = 'other' AND version = 2",
    )
    for name, (target, move) in MODELS.items():
        database.run(
            NEW_MODEL.format(name=name, at=5),
            f"INSERT INTO lockgate_models (id, workspace, name, created_at, adopted) VALUES ('{name}', 'default', '{name}', 5, false)",
            VERSION.format(name=name, version=7, stage="None"),
            f"INSERT INTO lockgate_versions (id, model_id, number, created_at) VALUES ('{name}7', '{name}', 7, 0)",
        )
        database.run(
            "INSERT INTO lockgate_decisions "
            "(kind, model_id, target, version_id, policy_version, evidence_digest, by_id, reason, at) "
            f"VALUES ('break-glass', '{name}', '{target}', '{name}7', 0, 'x', 1, '', 7)",
            "INSERT INTO lockgate_grants (change, model_id, version_id, target, decision_id, evidence_digest, at) "
            f"VALUES ('gain', '{name}', '{name}7', '{target}', (SELECT max(id) FROM lockgate_decisions), 'x', 7)",
            move,
        )
    return database


@pytest.fixture(scope="module")
def guarded(new_database: Callable[[str], str]) -> Databases:
    @cache
    def make(kind: str) -> Database:
        made = decided(kind, new_database(kind))
        if kind == "postgresql":
            with alone(engine_for(real_uri(made.uri))) as connection:
                set_up(connection, ROLES)
        return made

    return make


@pytest.fixture(scope="module")
def unguarded(new_database: Callable[[str], str]) -> Databases:
    @cache
    def make(kind: str) -> Database:
        made = decided(kind, new_database(kind))
        take_away(real_uri(made.uri))
        return made

    return make


def seen(database: Database) -> list[Any]:
    return [
        database.rows(
            "SELECT name, version, source, storage_location, current_stage FROM model_versions ORDER BY 1, 2"
        ),
        database.rows("SELECT name, alias, version FROM registered_model_aliases ORDER BY 1, 2"),
        database.rows("SELECT name FROM registered_models ORDER BY 1"),
    ]


def at(database: Database, name: str = "other") -> int:
    return int(database.rows(f"SELECT created_at FROM lockgate_models WHERE name = '{name}'")[0][0])


GONE = ["DELETE FROM model_versions WHERE name = 'other'", "DELETE FROM registered_models WHERE name = 'other'"]
EVIL = "UPDATE model_versions SET source = 'file:///evil', storage_location = 'file:///evil' WHERE name = '{name}' AND version = 3"

#: Each a transaction; `{at}` is when the model was created.
ATTACKS = {
    "take the number of what was approved": [
        "DELETE FROM model_versions WHERE name = 'other' AND version = 3",
        VERSION.format(name="other", version=3, stage="None"),
    ],
    "bring back what was deleted": [
        "DELETE FROM model_versions WHERE name = 'other' AND version = 2",
        VERSION.format(name="other", version=2, stage="None"),
    ],
    "change it under another name": [
        "UPDATE registered_models SET name = 'aside' WHERE name = 'other'",
        EVIL.format(name="aside"),
        "UPDATE registered_models SET name = 'other' WHERE name = 'aside'",
    ],
    "make the model again, of the same time": [
        *GONE,
        NEW_MODEL.format(name="other", at="{at}"),
        VERSION.format(name="other", version=3, stage="None"),
    ],
    "make the model again and then its time": [
        *GONE,
        NEW_MODEL.format(name="other", at=1),
        VERSION.format(name="other", version=3, stage="None"),
        "UPDATE registered_models SET creation_time = {at} WHERE name = 'other'",
    ],
    "let another model be it": [
        NEW_MODEL.format(name="another", at="{at}"),
        VERSION.format(name="another", version=3, stage="None"),
        *GONE,
        "UPDATE registered_models SET name = 'other' WHERE name = 'another'",
    ],
    "make it an older model": ["UPDATE registered_models SET creation_time = 1 WHERE name = 'other'", GONE[0], GONE[1]],
}
WHILE = "WITH m AS ({}), v AS ({}) SELECT 1"
TO_OTHER_VERSION = "UPDATE model_versions SET name = 'other' WHERE name = 'staged'"
TO_OTHER_ALIAS = "UPDATE registered_model_aliases SET name = 'other' WHERE name = 'aliased'"
ON_POSTGRESQL = {
    "move a stage's version while its model is renamed": [
        WHILE.format("UPDATE registered_models SET name = 'aside' WHERE name = 'staged'", TO_OTHER_VERSION)
    ],
    "move a stage's version while its model is deleted": [
        WHILE.format("DELETE FROM registered_models WHERE name = 'staged'", TO_OTHER_VERSION)
    ],
    "move an alias while its model is renamed": [
        WHILE.format("UPDATE registered_models SET name = 'aside' WHERE name = 'aliased'", TO_OTHER_ALIAS)
    ],
    "move an alias while its model is deleted": [
        "WITH m AS (DELETE FROM registered_models WHERE name = 'aliased'), "
        f"v AS (DELETE FROM model_versions WHERE name = 'aliased'), a AS ({TO_OTHER_ALIAS}) SELECT 1"
    ],
}


def check(attack: list[str], unguarded: Database, guarded: Database, role: str | None) -> None:
    with unguarded.connected(None) as connection:
        for statement in attack:
            connection.exec_driver_sql(statement.format(at=at(unguarded)))
        connection.rollback()
    before = seen(guarded)
    with pytest.raises(DBAPIError, match=r"approvals are about|stays so|Lockgate protects"):
        guarded.run(*(statement.format(at=at(guarded)) for statement in attack), role=role)
    assert seen(guarded) == before


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_takes_the_place_of_what_was_decided_about(
    attack: str, kind: str, unguarded: Databases, guarded: Databases
) -> None:
    check(ATTACKS[attack], unguarded(kind), guarded(kind), ROLES.others if kind == "postgresql" else None)


@pytest.mark.parametrize("attack", ON_POSTGRESQL)
def test_nothing_protected_moves_along_with_a_model(attack: str, unguarded: Databases, guarded: Databases) -> None:
    check(ON_POSTGRESQL[attack], unguarded("postgresql"), guarded("postgresql"), ROLES.others)


#: In SQLite as it comes, where versions need no model.
WITHOUT_FOREIGN_KEYS = {
    "versions before their model": [
        *GONE,
        VERSION.format(name="other", version=3, stage="None"),
        NEW_MODEL.format(name="other", at="{at}"),
    ],
    "versions of a model that is made again": [
        *GONE,
        NEW_MODEL.format(name="other", at=1),
        VERSION.format(name="other", version=3, stage="None"),
        GONE[1],
        NEW_MODEL.format(name="other", at="{at}"),
    ],
    "versions that come back before their model": [
        "UPDATE registered_models SET name = 'aside' WHERE name = 'other'",
        "UPDATE model_versions SET name = 'aside' WHERE name = 'other'",
        EVIL.format(name="aside"),
        "DELETE FROM registered_models WHERE name = 'aside'",
        "UPDATE model_versions SET name = 'other' WHERE name = 'aside'",
        NEW_MODEL.format(name="other", at="{at}"),
    ],
}


@pytest.mark.parametrize("attack", WITHOUT_FOREIGN_KEYS)
def test_nothing_takes_its_place_without_foreign_keys(attack: str, unguarded: Databases, guarded: Databases) -> None:
    def run(database: Database) -> None:
        with closing(sqlite3.connect(database.uri.removeprefix("sqlite:///"))) as file:
            for statement in WITHOUT_FOREIGN_KEYS[attack]:
                file.execute(statement.format(at=at(database)))

    run(unguarded("sqlite"))
    before = seen(guarded("sqlite"))
    with pytest.raises(sqlite3.IntegrityError, match="approvals are about"):
        run(guarded("sqlite"))
    assert seen(guarded("sqlite")) == before


@pytest.mark.parametrize("kind", BACKENDS)
def test_what_nobody_decided_about_comes_and_goes(kind: str, new_database: Callable[[str], str]) -> None:
    """As with the stock server: models are renamed, deleted and made again under a known name."""
    database = decided(kind, new_database(kind))
    database.run(
        "UPDATE registered_models SET name = 'aside' WHERE name = 'other'",
        "UPDATE model_versions SET source = 'file:///four' WHERE name = 'aside' AND version = 1",
    )
    database.run(NEW_MODEL.format(name="other", at=1), VERSION.format(name="other", version=3, stage="None"))
    database.run("DELETE FROM model_versions WHERE name = 'fraud' AND version = 3")
    database.run(VERSION.format(name="fraud", version=4, stage="None"))
    assert database.rows("SELECT version FROM model_versions WHERE name = 'other'") == [(3,)]
