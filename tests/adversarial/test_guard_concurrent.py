"""The guard and somebody who writes at the same time as the gate: PostgreSQL, with two connections."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from lockgate.database.engine import engine_for, real_uri
from lockgate.database.guard.placing import put_in_place
from tests.adversarial.serving_database import FITS, MOVE, Database, forge, known, prepared
from tests.house import ONE_APPROVAL, House

CONTENT = {
    "its source": "UPDATE model_versions SET source = 'file:///evil' WHERE name = '{model}'",
    "where its files are": "UPDATE model_versions SET storage_location = source || '/below' WHERE name = '{model}'",
    "its run": "UPDATE model_versions SET run_id = 'evil' WHERE name = '{model}'",
}
PRESENCE = {
    "that it is there": "DELETE FROM model_versions WHERE name = '{model}'",
    "that it is not deleted": "UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE name = '{model}'",
    "its model": "UPDATE registered_models SET name = '{model}-aside' WHERE name = '{model}'",
}


@contextmanager
def meanwhile(act: Callable[[], Any], uri: str) -> Iterator[list[Any]]:
    """Let somebody act who then waits for a lock that the block gives back; what came of it is in the list after it."""
    came: list[Any] = []

    def run() -> None:
        try:
            came.append(act())
        except Exception as error:
            came.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while thread.is_alive() and not is_waiting(uri):
            time.sleep(0.02)
        assert not came, f"it did not wait: {came}"
        yield came
    finally:
        thread.join()


def is_waiting(uri: str) -> bool:
    with psycopg.connect(uri) as connection:
        asked = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
        found: tuple[bool] | None = connection.execute(asked).fetchone()
        return found is not None and found[0]


@pytest.mark.parametrize("house", ["postgresql"], indirect=True)
@pytest.mark.parametrize("change", CONTENT)
def test_an_approval_is_not_of_what_changes_while_it_waits(house: House, change: str) -> None:
    """The content of what is approved can't change any more, so it must not change before that is seen."""
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model()
    asked = house.ask(model, "1", "alias:champion")
    came = while_it_waits(house, model, CONTENT[change], lambda: approve(house, asked))
    assert is_refused(came), came
    assert house.call("vic", "GET", f"/requests/{asked['id']}")["state"] == "open"


@pytest.mark.parametrize("house", ["postgresql"], indirect=True)
@pytest.mark.parametrize("target", ["alias:champion", "stage:Production"])
@pytest.mark.parametrize("change", PRESENCE)
def test_a_promotion_is_not_of_what_goes_while_it_waits(house: House, target: str, change: str) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model()
    asked = house.ask(model, "1", target)
    approve(house, asked)
    came = while_it_waits(
        house, model, PRESENCE[change], lambda: house.call("bot", "POST", f"/requests/{asked['id']}/promote", {})
    )
    assert is_refused(came), came
    with psycopg.connect(house.backend) as connection:
        held = connection.execute(
            "SELECT 1 FROM registered_model_aliases WHERE name LIKE %(like)s "
            "UNION ALL SELECT 1 FROM model_versions WHERE name LIKE %(like)s AND current_stage = 'Production'",
            {"like": f"{model}%"},
        ).fetchall()
    assert held == []


def approve(house: House, asked: dict[str, Any]) -> Any:
    digest = asked["evidence"]["digest"]
    return house.call("sue", "POST", f"/requests/{asked['id']}/approve", {"evidence_digest": digest})


def while_it_waits(house: House, model: str, statement: str, call: Callable[[], Any]) -> Any:
    """Make a call of the gate while somebody else has changed something and not committed it; return what came of it."""
    with psycopg.connect(house.backend) as other:
        if "DELETE" in statement:
            other.execute(f"DELETE FROM model_version_tags WHERE name = '{model}'")
        other.execute(statement.format(model=model))
        with meanwhile(call, house.backend) as came:
            other.commit()
    return came[0]


def is_refused(came: Any) -> bool:
    return isinstance(came, Exception) and "Something went wrong" not in str(came)


@pytest.fixture
def database(new_database: Callable[[str], str]) -> Database:
    return known(prepared("postgresql", new_database("postgresql")))


AFTERWARDS = {
    "change its content": "UPDATE model_versions SET source = 'file:///evil' WHERE name = 'fraud' AND version = 2",
    "delete it": "DELETE FROM model_versions WHERE name = 'fraud' AND version = 2",
    "delete it as MLflow does": "UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE name = 'fraud' AND version = 2",
    "move it on": MOVE.replace("2", "3"),
}


@pytest.mark.parametrize("attempt", AFTERWARDS)
def test_whoever_waits_for_the_gate_sees_what_it_decided(database: Database, attempt: str) -> None:
    with database.connected(None) as gate:
        gate.execute(text("SELECT 1 FROM registered_models WHERE name = 'fraud' FOR UPDATE"))
        for statement in (*forge(FITS), MOVE):
            gate.execute(text(statement))
        with meanwhile(lambda: database.run(AFTERWARDS[attempt]), database.uri) as came:
            gate.commit()
    assert isinstance(came[0], DBAPIError)
    assert "approved as it is" in str(came[0]) or "Lockgate protects" in str(came[0])
    assert database.serving()["champion"] == [2]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("attempt", AFTERWARDS)
def test_an_earlier_state_is_none_to_decide_by(database: Database, attempt: str, level: str) -> None:
    with database.connected(None) as earlier:
        earlier.exec_driver_sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
        earlier.exec_driver_sql("SELECT 1 FROM registered_models")
        database.run(*forge(FITS), MOVE)
        with pytest.raises(DBAPIError, match=r"isolation level|could not serialize"):
            earlier.exec_driver_sql(AFTERWARDS[attempt])
    assert database.serving()["champion"] == [2]


def test_a_rule_that_came_since_is_kept(database: Database) -> None:
    rules = database.rows("SELECT target FROM lockgate_protected")
    database.run("DELETE FROM lockgate_protected")
    with database.connected(None) as earlier:
        earlier.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        earlier.exec_driver_sql("SELECT 1 FROM registered_models")
        database.run(*(f"INSERT INTO lockgate_protected VALUES ('{target}')" for (target,) in rules))
        with pytest.raises(DBAPIError, match="isolation level repeatable read"):
            earlier.exec_driver_sql(MOVE)


def test_our_own_transactions_look_anew_whatever_the_default_is(new_database: Callable[[str], str]) -> None:
    uri = new_database("postgresql")
    with psycopg.connect(uri, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    with engine_for(real_uri(uri)).begin() as connection:
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar_one() == "read committed"


def test_a_repair_waits_for_whoever_moves_something(database: Database) -> None:
    """What moved while no trigger was there is followed up to the moment when they are back."""
    database.run("DROP TRIGGER lockgate_guard_aliases ON registered_model_aliases")
    with database.connected(None) as other:
        other.exec_driver_sql(MOVE)
        with meanwhile(lambda: put_in_place(real_uri(database.uri)), database.uri) as came:
            other.commit()
    assert "The trigger lockgate_guard_aliases on registered_model_aliases is missing." in came[0]
    held = database.rows(
        "SELECT version_id, until IS NULL FROM lockgate_holders WHERE target = 'alias:champion' ORDER BY id"
    )
    assert held == [("fraud1", False), ("fraud2", True)]
