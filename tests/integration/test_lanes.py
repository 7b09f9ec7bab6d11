"""Lanes without a server: what happens to them at the very moment when somebody else does something."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, update

from lockgate.access.principals import Kind
from lockgate.audit.entry import AuditEntry
from lockgate.database import deliveries, people, tables, webhooks
from lockgate.database.deliveries import Busy, Lane, State
from lockgate.database.engine import MIGRATES, now, to_ms
from lockgate.database.record import record
from lockgate.database.webhooks import Status, Webhook
from lockgate.delivery import receivers
from lockgate.delivery.answer import Answer
from lockgate.delivery.fanout import fan_out
from lockgate.delivery.names import lane_now
from lockgate.delivery.receivers import Secrets
from lockgate.delivery.retention import Retention
from lockgate.delivery.spoken import dialect
from lockgate.delivery.steps import Job, Made, Settings, Steps
from lockgate.events.dialects.standard import new_secret
from lockgate.events.event import EventType
from lockgate.registry import mlflow_tables
from lockgate.registry.transaction import reading, transaction
from tests.conftest import BACKENDS
from tests.logs import new_log

OK = Answer(200, "", None, 5, b"")
BROKEN = Answer(500, "", None, 5, b"")
FOREVER = timedelta(days=1)
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Post:
    """A database with a webhook in it, whose lanes a test goes along by hand."""

    engine: Engine
    hook: Webhook
    steps: Steps

    def happens(self, model: str, kind: EventType = EventType.MODEL_UPDATED, **more: Any) -> None:
        with transaction(self.engine) as session:
            record(session, AuditEntry(kind, "ada", None, "", model=model, **more), now(session))

    def renamed(self, model: str, to: str) -> None:
        self.happens(model, EventType.MODEL_RENAMED, before={"name": model}, after={"name": to})

    def fan_out(self) -> None:
        while fan_out(self.engine, dialect):
            pass

    def claim(self) -> list[tuple[Lane, list[Job]]]:
        return self.steps.claim(100, Busy())

    def begin(self) -> tuple[Lane, Job]:
        """Claim the one lane in which something is due, and begin with it."""
        [(lane, jobs)] = self.claim()
        return lane, jobs[0]

    def follow(self, lane: Lane, job: Job, answer: Answer) -> list[Job]:
        return self.steps.following(lane, [Made(job, answer, time.monotonic())], goes_on=True)

    def drain(self) -> list[str]:
        """Deliver all that is due; return what arrived, in order."""
        arrived = []
        while claimed := self.claim():
            for lane, jobs in claimed:
                while jobs:
                    arrived += [job.delivery.message_id for job in jobs]
                    made = [Made(job, OK, time.monotonic()) for job in jobs]
                    jobs = self.steps.following(lane, made, goes_on=True)
        return arrived

    def in_order(self) -> list[str]:
        """Return what there is to deliver, by its ids, in the order of the events."""
        with reading(self.engine) as session:
            rows = session.execute(select(tables.deliveries.c.message_id).order_by(tables.deliveries.c.event_id))
            return list(rows.scalars())

    def deliver_again(self, message_id: str) -> None:
        with transaction(self.engine) as session:
            webhooks.lock(session, self.hook.id)
            columns = tables.deliveries.c
            number = session.execute(select(columns.id).where(columns.message_id == message_id)).scalar_one()
            found, hook = deliveries.find(session, number), webhooks.load(session, self.hook.id)
            assert found is not None
            assert hook is not None
            deliveries.again(session, replace(found, model=lane_now(session, found, hook)), now(session))

    def states(self) -> list[tuple[str, int]]:
        columns = tables.deliveries.c
        with reading(self.engine) as session:
            rows = session.execute(select(columns.state, columns.attempts).order_by(columns.id))
            return [(row.state, row.attempts) for row in rows]

    def change(self, **changes: Any) -> None:
        with transaction(self.engine) as session:
            webhooks.change(session, self.hook.id, updated_at=now(session), **changes)


@pytest.fixture(params=BACKENDS)
def post(request: pytest.FixtureRequest, new_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Post:
    monkeypatch.setenv("LOCKGATE_SECRET_KEY", "a secret key of these tests alone")
    engine = new_log(new_database(request.param))
    with engine.execution_options(**{MIGRATES: True}).begin() as connection:
        mlflow_tables.webhooks.create(connection)
        mlflow_tables.webhook_events.create(connection)
        connection.execute(insert(tables.outbox).values(id=1, position=0))
    hook = Webhook(
        id="hook",
        workspace="default",
        dialect="standard",
        description="",
        url="https://ci.example.com",
        events=("*",),
        models="*",
        status=Status.ACTIVE,
        verify_certificate=True,
        created_at=BEGINNING,
        updated_at=BEGINNING,
        secret=receivers.sealed(Secrets((new_secret(),)), receivers.webhooks_at_rest(engine)),
        told_since=BEGINNING,
    )
    with transaction(engine) as session:
        webhooks.add(session, hook, people.add(session, "ada", Kind.USER, BEGINNING))
    return Post(engine, hook, Steps(engine, Settings(dialect, "", schedule=(0.0, 0.0), lease=FOREVER)))


# Renames


def test_what_is_about_the_new_name_of_a_model_does_not_overtake_what_waits_under_the_old_one(post: Post) -> None:
    post.happens("old")
    post.fan_out()
    lane, job = post.begin()
    post.renamed("old", "new")
    post.happens("new")
    post.fan_out()
    # The attempt under way has lost its lane: what came of it is not written, and it is made again under its id.
    assert post.follow(lane, job, OK) == []
    arrived = post.drain()
    assert arrived == post.in_order()
    assert (len(arrived), arrived[0]) == (3, job.delivery.message_id)


def test_renames_that_follow_each_other_keep_the_order(post: Post) -> None:
    for old, new in (("a", "b"), ("b", "c"), ("c", "a"), ("a", "d")):
        post.happens(old)
        post.renamed(old, new)
    post.happens("a")  # another model, which has the name now
    post.happens("d")
    post.fan_out()
    arrived = post.drain()
    of_other = post.in_order()[-2]
    assert [one for one in arrived if one != of_other] == [one for one in post.in_order() if one != of_other]


def test_what_waits_to_be_tried_again_goes_on_waiting_under_the_new_name(post: Post) -> None:
    post.steps = Steps(post.engine, Settings(dialect, "", schedule=(3600.0,), lease=FOREVER))
    post.happens("old")
    post.fan_out()
    lane, job = post.begin()
    post.follow(lane, job, BROKEN)
    post.renamed("old", "new")
    post.happens("new")
    post.fan_out()
    assert post.claim() == []


def test_who_is_not_told_of_the_new_name_is_told_the_rest_under_the_old_one(post: Post) -> None:
    post.change(models="old")
    post.happens("old")
    post.renamed("old", "new")
    post.happens("new")
    post.fan_out()
    assert len(post.drain()) == 2
    with reading(post.engine) as session:
        assert set(session.execute(select(tables.deliveries.c.model)).scalars()) == {"old"}


def test_what_is_delivered_once_more_goes_first_under_the_name_that_its_model_has_now(post: Post) -> None:
    post.happens("old")
    post.fan_out()
    [first] = post.drain()
    post.renamed("old", "between")
    post.renamed("between", "new")
    post.happens("old")  # another model, which has the name now
    post.fan_out()
    of_other = post.in_order()[-1]
    post.drain()
    post.happens("new")
    post.fan_out()
    post.deliver_again(first)
    [(lane, jobs)] = post.claim()
    assert lane.model == "new"
    assert [job.delivery.message_id for job in jobs] == [first, post.in_order()[-1]]
    assert of_other not in post.drain()


def test_what_is_delivered_once_more_before_the_outbox_is_read_to_the_renaming_is_taken_along(post: Post) -> None:
    post.happens("old")
    post.fan_out()
    [first] = post.drain()
    post.renamed("old", "new")
    post.deliver_again(first)
    post.happens("new")
    post.fan_out()
    [(lane, jobs)] = post.claim()
    assert lane.model == "new"
    assert [job.delivery.message_id for job in jobs] == post.in_order()


def test_who_is_not_told_of_the_new_name_is_told_once_more_under_the_old_one(post: Post) -> None:
    post.change(models="old")
    post.happens("old")
    post.fan_out()
    [first] = post.drain()
    post.renamed("old", "new")
    post.fan_out()
    post.drain()
    post.deliver_again(first)
    [(lane, jobs)] = post.claim()
    assert lane.model == "old"
    assert [job.delivery.message_id for job in jobs] == [first]


# Attempts under way


def test_what_came_of_an_attempt_is_nothing_where_somebody_else_has_claimed_the_lane(post: Post) -> None:
    post.happens("fraud")
    post.fan_out()
    lane, job = post.begin()
    with transaction(post.engine) as session:
        session.execute(update(tables.lanes).values(claimed_until=0))
    post.begin()
    assert post.follow(lane, job, OK) == []
    assert post.states() == [(State.WAITING, 0)]


def test_of_several_attempts_those_before_the_first_that_failed_are_made(post: Post) -> None:
    post.steps = Steps(post.engine, Settings(dialect, "", schedule=(3600.0,), lease=FOREVER))
    for _ in range(3):
        post.happens("fraud")
    post.fan_out()
    post.change(failing_since=BEGINNING)
    [(lane, jobs)] = post.claim()
    assert len(jobs) == 3
    made = [Made(job, answer, time.monotonic()) for job, answer in zip(jobs, (OK, BROKEN), strict=False)]
    assert post.steps.following(lane, made, goes_on=True) == []
    assert post.states() == [(State.DELIVERED, 1), (State.WAITING, 1), (State.WAITING, 0)]
    assert post.claim() == []
    with reading(post.engine) as session:
        found = webhooks.load(session, post.hook.id)
    assert found is not None
    assert found.failing_since is not None
    assert found.failing_since > BEGINNING


def test_what_is_given_up_while_it_is_attempted_stays_given_up(post: Post) -> None:
    post.happens("fraud")
    post.fan_out()
    lane, job = post.begin()
    with transaction(post.engine) as session:
        webhooks.lock(session, post.hook.id)
        deliveries.give_up(session, post.hook.id, lambda model: model != "fraud", now(session))
    post.change(models="churn")
    post.follow(lane, job, BROKEN)
    assert post.states()[0][0] == State.PARKED
    assert post.drain() == []


def test_who_is_taken_up_again_gets_a_schedule_of_its_own_whatever_an_earlier_attempt_says(post: Post) -> None:
    post.happens("fraud")
    post.fan_out()
    for _ in range(2):
        lane, job = post.begin()
        post.follow(lane, job, BROKEN)
    lane, job = post.begin()  # the last one
    with transaction(post.engine) as session:
        webhooks.lock(session, post.hook.id)
        deliveries.resume(session, post.hook.id, now(session))
    post.change(status=Status.ACTIVE)
    post.follow(lane, job, BROKEN)
    assert post.states() == [(State.WAITING, 0)]


def test_what_is_to_be_delivered_once_more_gets_a_schedule_of_its_own_whatever_an_earlier_attempt_says(
    post: Post,
) -> None:
    post.happens("fraud")
    post.fan_out()
    for _ in range(2):
        lane, job = post.begin()
        post.follow(lane, job, BROKEN)
    lane, job = post.begin()  # the last one
    with transaction(post.engine) as session:
        deliveries.again(session, job.delivery, now(session))
    post.follow(lane, job, BROKEN)
    assert post.states() == [(State.WAITING, 0)]
    with reading(post.engine) as session:
        found = webhooks.load(session, post.hook.id)
    assert found is not None
    assert found.status is Status.ACTIVE


# Two at the same moment: on SQLite there is one writer at a time, and these show no more than that nothing hangs


def test_a_removal_while_deliveries_are_made_leaves_nothing_behind(post: Post) -> None:
    post.happens("fraud")
    with at_work(post) as (going_on, go_on):
        removing = threading.Thread(target=remove, args=(post,))
        removing.start()
        time.sleep(0.3)  # There is nothing to wait for: it may be waiting for a lock, or be done.
        go_on.set()
        removing.join(30)
    assert going_on
    assert left_behind(post) == []


def test_deliveries_are_not_made_for_who_is_being_removed(post: Post) -> None:
    post.happens("fraud")
    with transaction(post.engine) as session:
        webhooks.lock(session, post.hook.id)
        deliveries.forget(session, post.hook.id)
        making = threading.Thread(target=post.fan_out)
        making.start()
        making.join(0.5)
        webhooks.remove(session, post.hook.id)
    making.join(30)
    assert left_behind(post) == []


def test_a_webhook_that_fails_while_deliveries_are_made_for_it_stops_none_of_both(post: Post) -> None:
    """Whoever locks several lanes of a webhook has locked the webhook before: else each would wait for the other."""
    for model in ("a", "m"):
        post.happens(model)
    post.fan_out()
    assert len(post.drain()) == 2
    post.happens("m")
    post.fan_out()
    lane, job = post.begin()
    post.happens("a")
    post.happens("m")
    gone = Answer(410, "", None, 5, b"")
    failing = threading.Thread(target=post.follow, args=(lane, job, gone))
    making = threading.Thread(target=post.fan_out)
    with transaction(post.engine) as session:
        # What the attempt that failed writes of its delivery, when it has its lane, waits for this.
        session.execute(select(tables.deliveries).where(tables.deliveries.c.id == job.delivery.id).with_for_update())
        for one in (failing, making):
            one.start()
            time.sleep(0.3)
    for one in (failing, making):
        one.join(30)
    with reading(post.engine) as session:
        found = webhooks.load(session, post.hook.id)
    assert found is not None
    assert found.status is Status.FAILED
    post.fan_out()
    assert post.drain() == []
    assert [state for state, _ in post.states()] == [State.DELIVERED] * 2 + [State.WAITING] * 4


class at_work:  # noqa: N801
    """Deliveries are made meanwhile: they have begun, and wait to go on."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._begun, self._go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._make)

    def _make(self) -> None:
        fan_out(self._post.engine, self._slowly)

    def _slowly(self, name: str) -> Any:
        self._begun.set()
        self._go_on.wait(20)
        return dialect(name)

    def __enter__(self) -> tuple[bool, threading.Event]:
        self._thread.start()
        return self._begun.wait(20), self._go_on

    def __exit__(self, *_: object) -> None:
        self._go_on.set()
        self._thread.join(30)
        self._post.fan_out()


def remove(post: Post) -> None:
    with transaction(post.engine) as session:
        webhooks.lock(session, post.hook.id)
        deliveries.forget(session, post.hook.id)
        webhooks.remove(session, post.hook.id)


def left_behind(post: Post) -> list[Any]:
    with reading(post.engine) as session:
        return [*session.execute(select(tables.lanes)), *session.execute(select(tables.deliveries))]


# How long it is remembered


def test_what_was_finished_long_ago_is_forgotten_and_what_waits_is_not(post: Post) -> None:
    for model in ("made", "given up", "fresh", "waits"):
        post.happens(model)
    post.fan_out()
    post.drain()
    long_ago = to_ms(BEGINNING)
    of = tables.deliveries.c.model
    with transaction(post.engine) as session:
        session.execute(update(tables.deliveries).where(of == "made").values(finished_at=long_ago))
        parked = {"state": State.PARKED, "finished_at": long_ago}
        session.execute(update(tables.deliveries).where(of == "given up").values(parked))
        waiting = {"state": State.WAITING, "finished_at": None, "created_at": long_ago}
        session.execute(update(tables.deliveries).where(of == "waits").values(waiting))
    assert not Retention(post.engine, None).forget_some()
    assert len(post.states()) == 4
    assert not Retention(post.engine, timedelta(days=30)).forget_some()
    with reading(post.engine) as session:
        assert set(session.execute(select(of)).scalars()) == {"fresh", "waits"}
        assert len(session.execute(select(tables.delivery_attempts)).all()) == 2
        assert len(session.execute(select(tables.events)).all()) == 4


def test_much_is_forgotten_in_small_batches(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lockgate.delivery.retention._BATCH", 2)
    for _ in range(5):
        post.happens("fraud")
    post.fan_out()
    post.drain()
    with transaction(post.engine) as session:
        session.execute(update(tables.deliveries).values(finished_at=to_ms(BEGINNING)))
    forgets = Retention(post.engine, timedelta(days=30))
    assert [forgets.forget_some() for _ in range(3)] == [True, True, False]
    assert post.states() == []
