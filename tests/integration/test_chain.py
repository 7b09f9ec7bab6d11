"""The hash chain in the database: what somebody does to a row is found, and no change commits without its entry."""

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from alembic import command
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from lockgate.access.calls import Call, current_call, in_call
from lockgate.audit.chain import NOTHING
from lockgate.audit.entry import AuditEntry, AuditOutcome
from lockgate.database import chain, policies
from lockgate.database.engine import engine_for, now, real_uri
from lockgate.database.migrate import _config, prepare_database
from lockgate.database.record import record
from lockgate.database.tables import audit, events, principals
from lockgate.errors import Conflict, Refused, RefusedOnRecord
from lockgate.registry.one_call import one_call
from lockgate.registry.transaction import commit, reading, transaction
from tests.conftest import BACKENDS
from tests.logs import new_log

AT = datetime(2026, 5, 12, 14, tzinfo=UTC)
#: The migration before the one that made the chain.
BEFORE = importlib.import_module("lockgate.database.migrations.versions.0005_chain").down_revision
POLICY = "version: 1\nrules: []\n"
LENGTH = 6


def entry(number: int = 0, **changes: object) -> AuditEntry:
    told = AuditEntry(
        "promotion.done", "ada", 1, "192.0.2.1", AuditOutcome.DONE, "default", "m", "fraud", 3, "alias:champion", number,
        5, {"version": 2}, {"version": 3}, "because ☃",
    )  # fmt: skip
    return AuditEntry(**{**told.__dict__, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=BACKENDS)
def engine(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> Engine:
    """A database with people and a log of some entries."""
    made = new_log(new_database(request.param))
    with transaction(made) as session:
        for name in ("ada", "eve"):
            session.execute(insert(principals).values(name=name, kind="user", active=True, created_at=1))
    for number in range(LENGTH):
        with transaction(made) as session:
            record(session, entry(number), AT)
    return made


@contextmanager
def tampered(engine: Engine, *statements: str) -> Iterator[Session]:
    """Do something to the database that is undone afterwards."""
    with engine.connect() as connection, connection.begin() as undone:
        if engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA defer_foreign_keys = ON"))
        for statement in statements:
            connection.execute(text(statement))
        yield Session(connection)
        undone.rollback()


def problems(engine: Engine, *statements: str) -> tuple[str, ...]:
    with tampered(engine, *statements) as session:
        return chain.follow(session, 0, 1_000_000).problems


def length(engine: Engine) -> int:
    with reading(engine) as session:
        return chain.head(session).last.number


def test_the_log_as_it_was_written_holds(engine: Engine) -> None:
    followed = problems(engine)
    assert followed == ()
    with reading(engine) as session:
        parts = [chain.follow(session, after, 2) for after in range(0, LENGTH, 2)]
        numbers = session.execute(select(audit.c.id).order_by(audit.c.id)).scalars().all()
        told = session.execute(select(events.c.audit_id).order_by(events.c.id)).scalars().all()
    assert all(part.problems == () and part.goes_on for part in parts[:-1])
    assert numbers == told == list(range(1, len(numbers) + 1))


CHANGES = {
    "at": "at + 1", "actor_id": "2", "actor": "'eve'", "address": "'203.0.113.1'", "action": "'rollback.done'",
    "outcome": "'refused'", "workspace": "'other'", "model_id": "'n'", "model": "'other'", "version": "4",
    "target": "'stage:Production'", "request_id": "99", "decision_id": "NULL", "before": "'{}'",
    "after": "'{\"version\": 3}'", "reason": "''", "previous": "'x'", "hash": "'x'",
}  # fmt: skip


def test_every_column_is_tried() -> None:
    assert set(CHANGES) | {"id"} == {column.name for column in audit.c}


@pytest.mark.parametrize("text", ['{"version": 2}', '{"version":2,"version":2}', '{"version":2}\n', "[]", "{", ""])
def test_another_text_for_the_same_is_found(engine: Engine, text: str) -> None:
    stored = text.replace(":", "\\:")  # else it would name a value
    [said] = problems(engine, f"UPDATE lockgate_audit SET before = '{stored}' WHERE id = 3")
    assert said.startswith("Entry 3 is not what was chained")


@pytest.mark.parametrize("column", CHANGES)
@pytest.mark.parametrize("number", [1, 3, LENGTH])
def test_a_change_of_any_column_of_any_entry_is_found(engine: Engine, column: str, number: int) -> None:
    found = problems(engine, f"UPDATE lockgate_audit SET {column} = {CHANGES[column]} WHERE id = {number}")
    assert any(f"ntry {number}" in problem or f"ntry {number + 1}" in problem for problem in found), found


def test_what_was_changed_is_named_as_far_as_it_is_known(engine: Engine) -> None:
    [said] = problems(engine, "UPDATE lockgate_audit SET actor = 'eve', reason = 'x' WHERE id = 3")
    assert said == (
        'Entry 3 is not what was chained: its `actor` is "eve", and its event says "ada"; its `reason` is "x", and its '
        'event says "because ☃".'
    )
    [said] = problems(engine, "UPDATE lockgate_audit SET address = 'x' WHERE id = 3")
    assert "of which its event does not tell" in said


DROPPED = "DELETE FROM lockgate_events WHERE audit_id {0}", "DELETE FROM lockgate_audit WHERE id {0}"


def test_a_dropped_entry_is_found(engine: Engine) -> None:
    [said] = problems(engine, *(statement.format("= 3") for statement in DROPPED))
    assert said == "After entry 2 comes entry 4: what was between them is missing."


def test_a_cut_off_tail_is_found(engine: Engine) -> None:
    [said] = problems(engine, *(statement.format("> 3") for statement in DROPPED))
    assert said.startswith("The log ends with entry 3, and not with entry")


def test_entries_in_another_order_are_found(engine: Engine) -> None:
    swap = (
        "UPDATE lockgate_audit SET id = 10007 - id WHERE id IN (3, 4)",
        "UPDATE lockgate_audit SET id = id - 10000 WHERE id > 10000",
    )
    with engine.connect() as connection, connection.begin() as undone:
        if engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA defer_foreign_keys = ON"))
        else:
            connection.execute(text("ALTER TABLE lockgate_events DROP CONSTRAINT lockgate_events_audit_id_fkey"))
        for statement in swap:
            connection.execute(text(statement))
        assert chain.follow(Session(connection), 0, 100).problems
        undone.rollback()


def test_a_fork_is_impossible(engine: Engine) -> None:
    columns = ", ".join(column.name for column in audit.c)
    fork = (
        f"INSERT INTO lockgate_audit ({columns}) "
        "SELECT {id} AS id, at, actor_id, actor, address, action, outcome, workspace, model_id, "
        "model, version, target, request_id, decision_id, before, after, reason, {previous} AS previous, hash "
        "FROM lockgate_audit WHERE id = 3"
    )
    for number, previous in ((4, "'x'"), (9_999, "previous")):
        statement = fork.format(id=number, previous=previous)
        with pytest.raises(Exception, match=r"(?i)unique"), tampered(engine, statement):
            pass


BEFORE_ALL = (
    f"INSERT INTO lockgate_audit ({', '.join(column.name for column in audit.c)}) SELECT "
    + ", ".join({"id": "-7", "previous": "'x'"}.get(column.name, column.name) for column in audit.c)
    + " FROM lockgate_audit WHERE id = 1"
)


def test_there_is_no_entry_before_the_first(engine: Engine) -> None:
    with pytest.raises(IntegrityError, match="lockgate_audit_from_one"), tampered(engine, BEFORE_ALL):
        pass


def test_an_entry_before_the_first_is_found(new_database: Callable[[str], str]) -> None:
    """By who has taken the constraint away, too."""
    engine = new_log(new_database("postgresql"))
    with transaction(engine) as session:
        record(session, entry(actor_id=None), AT)
    [said, *_] = problems(engine, "ALTER TABLE lockgate_audit DROP CONSTRAINT lockgate_audit_from_one", BEFORE_ALL)
    assert said.startswith("After entry 0 comes entry -7")


def test_writers_side_by_side_leave_one_chain_without_gaps(engine: Engine) -> None:
    before, failures = length(engine), list[Exception]()

    def write(who: int) -> None:
        try:
            for number in range(10):
                with transaction(engine) as session:
                    for _ in range(1 + number % 3):
                        record(session, entry(who), AT)
        except Exception as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(who,)) for who in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert length(engine) == before + 8 * 19
    assert problems(engine) == ()


def change_policy(engine: Engine, ends_in: Exception | None, *, undone_before: bool = False) -> None:
    with transaction(engine) as session:
        record(session, entry(), AT)
        if undone_before:
            session.rollback()
        policies.add(session, POLICY, "ada", AT)
        if ends_in is not None:
            raise ends_in


@pytest.mark.parametrize("ends_in", [None, RefusedOnRecord("no")])
def test_without_an_entry_there_is_no_change(engine: Engine, ends_in: Exception | None) -> None:
    before = length(engine)
    with reading(engine) as session:
        head = chain.head(session).last
    break_chain(engine, "UPDATE lockgate_chain_head SET hash = (SELECT previous FROM lockgate_audit WHERE id = 2)")
    try:
        with pytest.raises(Conflict):
            change_policy(engine, ends_in)
    finally:
        break_chain(engine, f"UPDATE lockgate_chain_head SET hash = '{head.hash}'")
    with reading(engine) as session:
        assert policies.current(session).version == policies.DEFAULT_VERSION
    assert length(engine) == before


def break_chain(engine: Engine, statement: str) -> None:
    with engine.connect() as connection, connection.begin():
        connection.execute(text(statement))


def test_whoever_commits_writes_what_was_put_on_record(engine: Engine) -> None:
    before = length(engine)
    with transaction(engine) as session:
        record(session, entry(), AT)
        with session.begin_nested():
            record(session, entry(), AT)
        assert length(engine) == before
    assert length(engine) == before + 2
    with pytest.raises(Conflict):
        change_policy(engine, None, undone_before=True)
    assert length(engine) == before + 2


def refuse_within(engine: Engine, why: Exception, told: AuditEntry | None = None) -> None:
    with transaction(engine) as session:
        record(session, told or entry(reason="undone"), AT)
        assert not current_call().is_on_record
        raise why


def test_what_a_call_undoes_on_the_way_is_not_in_its_record(engine: Engine) -> None:
    """A call that is made once holds its first transaction open; what follows are savepoints in it."""
    before = length(engine)
    with one_call() as call:
        with transaction(engine) as session:
            record(session, entry(reason="first"), AT)
        with pytest.raises(Refused):
            refuse_within(engine, Refused("no"))
        with pytest.raises(RefusedOnRecord):
            refuse_within(engine, RefusedOnRecord("no"))
        with transaction(engine) as session:
            record(session, entry(reason="last"), AT)
        call.finish(lambda _session: None, commit)
    with reading(engine) as session:
        written = session.execute(select(audit.c.reason).where(audit.c.id > before).order_by(audit.c.id)).scalars()
        assert list(written) == ["first", "undone", "last"]
        assert chain.follow(session, 0, 1_000_000).problems == ()


def collide(session: Session) -> None:
    """Write what a constraint of the database refuses, as a flush does."""
    session.add(Row(key=1, text="a"))
    session.flush()
    session.expunge_all()
    session.add(Row(key=1, text="b"))
    session.flush()


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "rows_of_a_test"
    key: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


def collide_within(engine: Engine) -> None:
    with transaction(engine) as session:
        record(session, entry(reason="undone"), AT)
        collide(session)


def written_since(engine: Engine, number: int) -> list[str]:
    with reading(engine) as session:
        assert chain.follow(session, 0, 1_000_000).problems == ()
        written = select(audit.c.reason).where(audit.c.id > number).order_by(audit.c.id)
        return list(session.execute(written).scalars())


def test_a_failed_flush_in_a_held_call_undoes_only_its_own_block(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    before = length(engine)
    with one_call() as call:
        with transaction(engine) as session:
            record(session, entry(reason="first"), AT)
        with pytest.raises(Conflict):
            collide_within(engine)
        with transaction(engine) as session:
            record(session, entry(reason="last"), AT)
        call.finish(lambda _session: None, commit)
    assert written_since(engine, before) == ["first", "last"]


def test_a_failed_flush_in_a_savepoint_loses_no_entry_of_what_stays(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    before = length(engine)
    with transaction(engine) as session:
        record(session, entry(reason="stays"), AT)
        savepoint = session.begin_nested()
        with pytest.raises(IntegrityError):
            collide(session)
        savepoint.rollback()
    assert written_since(engine, before) == ["stays"]


@pytest.mark.parametrize(("why", "stays"), [(Refused("no"), False), (RefusedOnRecord("no"), True)])
def test_a_refusal_is_on_record_when_it_is_committed(engine: Engine, why: Exception, stays: bool) -> None:
    call, before = Call(), length(engine)
    with in_call(call), pytest.raises(type(why)):
        refuse_within(engine, why, entry(reason="refused", outcome=AuditOutcome.REFUSED))
    assert call.is_on_record == stays
    assert written_since(engine, before) == ["refused"] * stays


@pytest.mark.parametrize("kind", BACKENDS)
def test_entries_of_before_are_chained_in_their_order(kind: str, new_database: Callable[[str], str]) -> None:
    uri = real_uri(new_database(kind))
    prepare_database(uri)
    engine = engine_for(uri)
    columns = [column.name for column in audit.c if column.name not in ("previous", "hash")]
    with engine.execution_options(lockgate_writes=True).begin() as connection:
        command.downgrade(_config(connection), BEFORE)
        for number in (3, 4, 9) if kind == "postgresql" else (1, 2, 3):
            row = {**entry(number).__dict__, "id": number, "at": 1000 * number, "actor_id": None, "before": "{}"}
            values = {**{name: row[name] for name in columns}, "after": '{"version":3}'}
            given = ", ".join(f":{name}" for name in columns)
            connection.execute(text(f"INSERT INTO lockgate_audit ({', '.join(columns)}) VALUES ({given})"), values)
            told = "INSERT INTO lockgate_events (audit_id, at, type, workspace, data) VALUES (:id, 1, 'x', 'default', '{}')"
            connection.execute(text(told), {"id": number})
    prepare_database(uri)
    with reading(engine) as session:
        assert chain.follow(session, 0, 100).problems == ()
        rows = session.execute(select(audit.c.id, audit.c.request_id, audit.c.previous).order_by(audit.c.id)).all()
        joined = select(events.c.id).join(audit, events.c.audit_id == audit.c.id)
        assert len(session.execute(joined).all()) == 3
        log_id = chain.head(session).log_id
    assert [row.id for row in rows] == [1, 2, 3]
    assert [row.request_id for row in rows] == ([3, 4, 9] if kind == "postgresql" else [1, 2, 3])
    assert rows[0].previous == NOTHING
    assert len(log_id) == 32
    with transaction(engine) as session:
        record(session, entry(actor_id=None), now(session))
    assert problems(engine) == ()
    assert length(engine) == 4
