"""Delivering what waits: one thread a server process, which sends to many webhooks at the same time.

Deliveries to one webhook that are about one model are a lane: they are made in order, by whoever has claimed it. A
claim is renewed as long as its process lives, and runs out by itself when that has died; what is written about a lane
carries the number of the claim, so that one who was thought dead and comes back writes nothing.
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.database import deliveries, outbox
from lockgate.database.deliveries import Delivery, Lane
from lockgate.database.engine import now
from lockgate.database.webhooks import Status, Webhook
from lockgate.delivery import receivers
from lockgate.delivery.fanout import Dialects, fan_out
from lockgate.delivery.outcome import note_overtaken, settle
from lockgate.delivery.schedule import STANDARD
from lockgate.delivery.sender import Answer, Sender
from lockgate.errors import LockgateError
from lockgate.events.dialect import Attempt, Call
from lockgate.registry.listeners import is_anybody
from lockgate.registry.transaction import reading, transaction

#: From how many lanes on one process claims no more, and how many of one webhook: a slow one leaves room for others.
#: As many as LANES_OF_ONE are claimed in one go, so it may come to a few more of each.
LANES = 100
LANES_OF_ONE = 4
#: After so many deliveries a lane is given back, so that others have a turn.
IN_A_ROW = 50

_UNTOLD = Answer(None, "The event couldn't be told in the webhook's dialect; the server's log says why.", None, 0, b"")
_UNSENT = Answer(None, "The call couldn't be sent; the server's log says why.", None, 0, b"")

_T = TypeVar("_T")
_logger = logging.getLogger("lockgate.delivery")


@dataclass(frozen=True)
class Settings:
    """How to deliver.

    Attributes:
        dialects: Returns the dialect of a name.
        base_url: How people reach this server, for links.
        schedule: How long to wait after each failed attempt, in seconds.
        lease: How long a claim lasts unless it is renewed.
        poll: How often to look for what other processes left, in seconds.
    """

    dialects: Dialects
    base_url: str
    schedule: tuple[float, ...] = STANDARD
    lease: timedelta = timedelta(seconds=12)
    poll: float = 1.0


@dataclass(frozen=True)
class Job:
    """A delivery about to be attempted.

    Attributes:
        delivery: The delivery.
        webhook: Its receiver, as it was when the call was drawn.
        call: What is sent; None if the event couldn't be told, which counts as an attempt that has failed.
    """

    delivery: Delivery
    webhook: Webhook
    call: Call | None


class Deliverer:
    """Makes deliveries of events, and sends them, as long as the process lives.

    An event loop in a thread of its own sends; what it asks of the database, two threads beside it do.

    Args:
        engine: The registry's database.
        sender: Makes what sends calls; it is called in the loop that they are sent from.
        settings: How to deliver.
    """

    def __init__(self, engine: Engine, sender: Callable[[], Sender], settings: Settings) -> None:
        self._engine = engine
        self._new_sender = sender
        self._settings = settings
        self._thread = threading.Thread(target=self._in_thread, name="lockgate-deliverer", daemon=True)
        self._database = ThreadPoolExecutor(2, thread_name_prefix="lockgate-deliverer-database")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._stopped = False
        self._nobody_until = 0.0
        self._lanes: dict[asyncio.Task[None], Lane] = {}

    def start(self) -> None:
        """Deliver in a thread from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more, and give back what is claimed: other processes go on with it."""
        self._stopped = True
        self._wake()
        if self._thread.is_alive():
            self._thread.join()

    def _wake(self) -> None:
        if (loop := self._loop) is not None:
            with suppress(RuntimeError):  # It has ended.
                loop.call_soon_threadsafe(self._woken.set)

    def _in_thread(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        # Names are asked for in it, and some take long: as many as there are lanes.
        self._loop.set_default_executor(ThreadPoolExecutor(LANES, thread_name_prefix="lockgate-deliverer-names"))
        end = outbox.listen(self._wake)
        sender = self._new_sender()
        renewing = asyncio.create_task(self._renew())
        try:
            while not self._stopped:
                self._woken.clear()
                if not await self._turn(sender):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._woken.wait(), self._settings.poll)
        finally:
            end()
            renewing.cancel()
            await self._give_back()
            await sender.close()

    async def _turn(self, sender: Sender) -> bool:
        """Make deliveries of new events and begin with lanes in which something is due; say whether there is more."""
        try:
            more, claimed = await self._ask(self._find_work)
        except LockgateError:  # The database is busy or gone, which is in the log by now.
            return False
        except Exception:
            _logger.exception("Looking for what to deliver failed; it is tried again.")
            return False
        for lane in claimed:
            task = asyncio.create_task(self._deliver(sender, lane))
            self._lanes[task] = lane
            task.add_done_callback(self._done)
        return more or bool(claimed)

    def _done(self, task: asyncio.Task[None]) -> None:
        lane = self._lanes.pop(task)
        self._woken.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its claim runs out, and somebody tries again.
            _logger.error("Delivering to webhook %s failed", lane.webhook_id, exc_info=error)

    async def _ask(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._database, work)

    def _find_work(self) -> tuple[bool, list[Lane]]:
        """Make deliveries of new events, and claim lanes; say whether there may be more events, and which lanes."""
        if not self._is_anybody():
            return False, []
        return self._make_deliveries(), self._claim_lanes()

    def _make_deliveries(self) -> bool:
        # Read first: to begin writing means, on SQLite, to keep everybody else from it.
        with reading(self._engine) as session:
            is_behind = outbox.is_behind(session)
        return is_behind and fan_out(self._engine, self._settings.dialects)

    def _claim_lanes(self) -> list[Lane]:
        load = self._load()
        if load.total() >= LANES:
            return []
        busy = [webhook for webhook, lanes in load.items() if lanes >= LANES_OF_ONE]
        with reading(self._engine) as session:
            if not deliveries.is_anything_due(session, now(session), busy):
                return []
        with transaction(self._engine) as session:
            at = now(session)
            # As many as one webhook may have: whose lanes come first, takes no more by being first.
            return deliveries.claim(session, at, at + self._settings.lease, LANES_OF_ONE, busy)

    def _is_anybody(self) -> bool:
        """Say whether anybody is told of events; asked once a poll where nobody is, and not after each change."""
        moment = time.monotonic()
        if moment < self._nobody_until:
            return False
        with reading(self._engine) as session:
            found = is_anybody(session)
        self._nobody_until = 0 if found else moment + self._settings.poll
        return found

    def _load(self) -> Counter[str]:
        """Return for how many lanes of each webhook this process delivers now."""
        return Counter(lane.webhook_id for lane in tuple(self._lanes.values()))

    async def _deliver(self, sender: Sender, lane: Lane) -> None:
        """Make the deliveries of a lane, in order, until one fails or nothing waits."""
        job = await self._ask(partial(self._next, lane))
        done = 0
        while job is not None:
            answer = await self._send(sender, job)
            done += 1
            job = await self._ask(partial(self._settle, lane, job, answer, done))

    async def _send(self, sender: Sender, job: Job) -> Answer:
        if job.call is None:
            return _UNTOLD
        try:
            return await sender.send(job.call, job.webhook.verify_certificate)
        except Exception:  # Nothing that we know of; but the lane would begin again with it for ever.
            _logger.exception("Sending to webhook %s failed in a way that nobody foresaw", job.webhook.id)
            return _UNSENT

    def _next(self, lane: Lane) -> Job | None:
        """Return what to attempt first in a lane that was just claimed; None if the claim holds no more."""
        with transaction(self._engine) as session:
            at = now(session)
            if not deliveries.hold(session, lane, at + self._settings.lease):
                return None
            return self._first(session, lane)

    def _settle(self, lane: Lane, job: Job, answer: Answer, done: int) -> Job | None:
        """Write down what came of an attempt; return what to attempt next, if this process goes on with the lane.

        Whoever claimed the lane after the claim had run out has its own attempt: then nothing is written.
        """
        with transaction(self._engine) as session:
            at = now(session)
            webhook: Webhook | None = job.webhook
            if not answer.is_success or job.webhook.failing_since is not None:
                # What came of it may be about the webhook, which is locked before its lanes, and read again.
                receivers.lock(session, job.webhook)
                webhook = receivers.load(session, lane.webhook_id)
            if webhook is None or not deliveries.hold(session, lane, at + self._settings.lease):
                return None
            if webhook.is_another_than(job.webhook) and not answer.is_success:
                note_overtaken(session, lane, job.delivery, webhook, answer, at)
                return None
            if not settle(session, lane, job.delivery, webhook, answer, self._settings.schedule, at):
                return None
            if done >= IN_A_ROW or self._stopped:
                deliveries.leave(session, lane, at)
                return None
            return self._first(session, lane)

    def _first(self, session: Session, lane: Lane) -> Job | None:
        """Return the oldest delivery that waits in a lane; with none, or none that may be made, give the lane back."""
        delivery = deliveries.next_in(session, lane)
        webhook = receivers.load(session, lane.webhook_id)
        if delivery is None or webhook is None or webhook.status is not Status.ACTIVE:
            deliveries.leave(session, lane, None)
            return None
        return Job(delivery, webhook, self._call(session, delivery, webhook))

    def _call(self, session: Session, delivery: Delivery, webhook: Webhook) -> Call | None:
        """Draw the call of an attempt, from the event and from what its webhook is now."""
        told = outbox.find(session, delivery.event).told
        attempt = Attempt(delivery.message_id, now(session), self._settings.base_url)
        try:
            endpoint = receivers.endpoint(session, webhook, receivers.webhooks_at_rest(self._engine))
            return self._settings.dialects(webhook.dialect).call(told, delivery.name, endpoint, attempt)
        except Exception:  # Of a template that somebody added, anything.
            _logger.exception("Event %s couldn't be told to webhook %s", told.id, webhook.id)
            return None

    async def _renew(self) -> None:
        """Renew the claims of this process while it lives."""
        while True:
            await asyncio.sleep(self._settings.lease.total_seconds() / 4)
            if held := list(self._lanes.values()):
                for lane in held:
                    with suppress(LockgateError):
                        await self._ask(partial(self._renew_one, lane))

    def _renew_one(self, lane: Lane) -> None:
        with transaction(self._engine) as session:
            deliveries.renew(session, lane, now(session) + self._settings.lease)

    async def _give_back(self) -> None:
        held = list(self._lanes.values())
        for task in tuple(self._lanes):
            task.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        if held:
            with suppress(LockgateError):
                await self._ask(partial(self._leave_all, held))

    def _leave_all(self, held: list[Lane]) -> None:
        with transaction(self._engine) as session:
            at = now(session)
            for lane in held:
                if deliveries.hold(session, lane, at):
                    deliveries.leave(session, lane, at)
