"""Transactions, and what stays the same throughout one."""

import os
import socket
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy import Engine, select, text

from lockgate.database import policies, tables
from lockgate.database.engine import LOCK_TIMEOUT, engine_for, now, real_uri, to_ms
from lockgate.database.migrate import alone
from lockgate.errors import Conflict, Refused, RefusedOnRecord
from lockgate.registry.transaction import reading, transaction
from tests.adversarial.crash_proxy import CrashProxy
from tests.conftest import BACKENDS

POLICY = "version: 1\nrules: []\n"
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> Engine:
    engine = engine_for(real_uri(new_database(request.param)))
    tables.policies.create(engine)
    tables.writers.create(engine)
    tables.protected.create(engine)
    return engine


def kept(engine: Engine) -> list[str]:
    with reading(engine) as session:
        return list(session.execute(select(tables.policies.c.applied_by).order_by(tables.policies.c.version)).scalars())


def refused(engine: Engine, by: str, why: Exception, *, undone_before: bool = False) -> None:
    """A transaction that writes a policy and ends with `why`."""
    with transaction(engine) as session:
        policies.add(session, POLICY, by, AT)
        if undone_before:
            session.rollback()
        raise why


def undone_on_the_way(engine: Engine) -> None:
    with transaction(engine) as session:
        policies.add(session, POLICY, "ada", AT)
        session.rollback()
        policies.add(session, POLICY, "sue", AT)


def test_what_a_refusal_puts_on_record_is_kept_and_other_errors_keep_nothing(engine: Engine) -> None:
    with transaction(engine) as session:
        policies.add(session, POLICY, "ada", AT)
    with pytest.raises(RefusedOnRecord):
        refused(engine, "sue", RefusedOnRecord("no"))
    with pytest.raises(Refused):
        refused(engine, "eve", Refused("no"))
    assert kept(engine) == ["ada", "sue"]


def test_what_was_undone_on_the_way_is_not_taken_for_done(engine: Engine) -> None:
    """MLflow rolls back and tries again in places: the lock and what was written before are gone then."""
    with pytest.raises(Conflict, match="Somebody else changed this model"):
        undone_on_the_way(engine)
    with pytest.raises(RefusedOnRecord):
        refused(engine, "ada", RefusedOnRecord("no"), undone_before=True)
    assert kept(engine) == []


def test_a_decision_rests_on_one_policy(engine: Engine) -> None:
    with reading(engine) as deciding:
        before = policies.current(deciding)
        with transaction(engine) as session:
            applied = policies.add(session, POLICY, "ada", AT)
            assert policies.current(session) == applied
        assert policies.current(deciding) == before
    with reading(engine) as session:
        assert policies.current(session).version == applied.version == before.version + 1
        assert policies.of_version(session, applied.version).source == POLICY


def test_the_database_tells_the_time(engine: Engine) -> None:
    before = datetime.now(UTC)
    with reading(engine) as session:
        told = now(session)
    assert to_ms(before) <= to_ms(told) <= to_ms(datetime.now(UTC))


def test_writers_wait_and_keep_others_waiting_for_so_long_and_migrations_as_long_as_it_takes(engine: Engine) -> None:
    if engine.dialect.name != "postgresql":
        with transaction(engine) as session:
            assert session.execute(text("PRAGMA busy_timeout")).scalar_one() == LOCK_TIMEOUT * 1000
        return
    both = text("SELECT current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')")
    with transaction(engine) as session:
        assert tuple(session.execute(both).one()) == (f"{LOCK_TIMEOUT}s", "1min")
    with reading(engine) as session:
        assert tuple(session.execute(both).one()) == ("0", "0")
    with alone(engine) as connection:
        assert tuple(connection.execute(both).one()) == ("0", "0")


def test_who_waits_too_long_is_told_so_and_the_connection_is_good_for_the_next(engine: Engine) -> None:
    if engine.dialect.name != "postgresql":
        return
    with engine.begin() as keeping:
        keeping.execute(text("LOCK TABLE lockgate_writers IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(Conflict, match="busy with other changes"), transaction(engine) as session:
            session.execute(select(tables.policies))
    refused_after = kept(engine)
    with transaction(engine) as session:
        policies.add(session, POLICY, "ada", AT)
    assert kept(engine) == [*refused_after, "ada"]


@pytest.mark.parametrize(("given", "idle"), [("", 5), ("&keepalives_idle=77", 77)])
def test_a_machine_that_is_gone_without_a_word_is_noticed(
    new_database: Callable[[str], str], given: str, idle: int
) -> None:
    """As the operating system was told: that packets are lost can't be shown on one machine."""
    with closing(CrashProxy(new_database("postgresql"))) as proxy:
        engine = engine_for(real_uri(proxy.through + given))
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            with socket.socket(fileno=os.dup(driver.fileno())) as line:
                assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == idle
                assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
            assert driver.info.get_parameters()["connect_timeout"] == "5"
        engine.dispose()
