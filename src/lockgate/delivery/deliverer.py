"""Delivering what waits: one thread a server process, which sends to many webhooks at the same time.

What it asks of the database is in `lockgate.delivery.steps`.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from sqlalchemy import Engine

from lockgate.database import deliveries, outbox
from lockgate.database.deliveries import Lane
from lockgate.database.engine import now
from lockgate.delivery.answer import Answer, Failure
from lockgate.delivery.fanout import fan_out
from lockgate.delivery.retention import Retention
from lockgate.delivery.sender import Sender
from lockgate.delivery.shares import LANES, LANES_OF_ONE, busy_with
from lockgate.delivery.steps import Job, Made, Settings, Steps
from lockgate.errors import LockgateError
from lockgate.registry.listeners import is_anybody
from lockgate.registry.transaction import reading

#: After so long, what came of attempts is written down, though more were drawn.
UNWRITTEN_SECONDS = 1.0
#: So long a process that ends waits for calls that are under way.
LAST_CALL_SECONDS = 1.0
#: For so long a webhook that has failed rests, unless its deliveries are tried again sooner.
REST_SECONDS = 1.0
#: After so many deliveries a lane is given back, so that others have a turn.
IN_A_ROW = 50

_UNTOLD = Answer(None, Failure.UNTOLD, None, 0, b"")
_UNSENT = Answer(None, Failure.UNSENT, None, 0, b"")

#: A lane, and what to attempt first in it.
_Claimed = tuple[Lane, list[Job]]
_T = TypeVar("_T")
_logger = logging.getLogger("lockgate.delivery")


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
        self._steps = Steps(engine, settings)
        self._retention = Retention(engine, settings.remembered)
        self._thread = threading.Thread(target=self._in_thread, name="lockgate-deliverer", daemon=True)
        self._database = ThreadPoolExecutor(2, thread_name_prefix="lockgate-deliverer-database")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._stopped = False
        self._nobody_until = 0.0
        self._lanes: dict[asyncio.Task[None], Lane] = {}
        self._resting: dict[str, float] = {}

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
                if not await self._turn(sender) and not await self._forget():
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
        for lane, jobs in claimed:
            task = asyncio.create_task(self._deliver(sender, lane, jobs))
            self._lanes[task] = lane
            task.add_done_callback(self._done)
        return more or bool(claimed)

    async def _forget(self) -> bool:
        """Forget some of what was delivered long ago, while there is nothing else to do; say whether there is more."""
        try:
            return await self._ask(self._retention.forget_some)
        except LockgateError:  # As above.
            return False

    def _done(self, task: asyncio.Task[None]) -> None:
        lane = self._lanes.pop(task)
        self._woken.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its claim runs out, and somebody tries again.
            _logger.error("Delivering to webhook %s failed", lane.webhook_id, exc_info=error)

    async def _ask(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._database, work)

    def _find_work(self) -> tuple[bool, list[_Claimed]]:
        """Make deliveries of new events, and claim lanes; say whether there may be more events, and which lanes."""
        if not self._is_anybody():
            return False, []
        return self._make_deliveries(), self._claim_lanes()

    def _make_deliveries(self) -> bool:
        # Read first: to begin writing means, on SQLite, to keep everybody else from it.
        with reading(self._engine) as session:
            is_behind = outbox.is_behind(session)
        return is_behind and fan_out(self._engine, self._settings.dialects)

    def _claim_lanes(self) -> list[_Claimed]:
        busy = busy_with(tuple(self._lanes.values()), self._resting.copy(), time.monotonic())
        if busy is None:
            return []
        with reading(self._engine) as session:
            if not deliveries.is_anything_due(session, now(session), busy):
                return []
        # As many as one webhook may have: whose lanes come first, takes no more by being first.
        return self._steps.claim(LANES_OF_ONE, busy)

    def _is_anybody(self) -> bool:
        """Say whether anybody is told of events; asked once a poll where nobody is, and not after each change."""
        moment = time.monotonic()
        if moment < self._nobody_until:
            return False
        with reading(self._engine) as session:
            found = is_anybody(session)
        self._nobody_until = 0 if found else moment + self._settings.poll
        return found

    async def _deliver(self, sender: Sender, lane: Lane, jobs: list[Job]) -> None:
        """Make the deliveries of a lane, in order, until one fails or nothing waits."""
        done = 0
        while jobs:
            made = await self._attempt(sender, jobs)
            done += len(made)
            self._note(lane.webhook_id, made[-1].answer)
            goes_on = done < IN_A_ROW and not self._stopped
            jobs = await self._ask(partial(self._steps.following, lane, made, goes_on))

    def _note(self, webhook_id: str, newest: Answer) -> None:
        """Begin with none of a webhook's lanes for a moment after it has failed; once it has answered, no longer."""
        if newest.is_success:
            self._resting.pop(webhook_id, None)
        else:
            self._resting[webhook_id] = time.monotonic() + min(REST_SECONDS, self._settings.schedule[0])

    async def _attempt(self, sender: Sender, jobs: list[Job]) -> list[Made]:
        """Attempt deliveries in order, until one fails or what came of them is to be written down."""
        made: list[Made] = []
        until = time.monotonic() + UNWRITTEN_SECONDS
        for job in jobs:
            began = time.monotonic()
            made.append(Made(job, await self._send(sender, job), began))
            if not made[-1].answer.is_success or self._stopped or time.monotonic() > until:
                break
        return made

    async def _send(self, sender: Sender, job: Job) -> Answer:
        if job.call is None:
            return _UNTOLD
        try:
            return await sender.send(job.call, job.webhook.verify_certificate)
        except Exception:  # Nothing that we know of; but the lane would begin again with it for ever.
            _logger.exception("Sending to webhook %s failed in a way that nobody foresaw", job.webhook.id)
            return _UNSENT

    async def _renew(self) -> None:
        """Renew the claims of this process while it lives."""
        while True:
            await asyncio.sleep(self._settings.lease.total_seconds() / 4)
            for lane in tuple(self._lanes.values()):
                with suppress(LockgateError):
                    await self._ask(partial(self._steps.renew, lane))

    async def _give_back(self) -> None:
        if self._lanes:
            # What has arrived is written down, or it would be sent again.
            await asyncio.wait(self._lanes, timeout=LAST_CALL_SECONDS)
        held = list(self._lanes.values())
        for task in tuple(self._lanes):
            task.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        if held:
            with suppress(LockgateError):
                await self._ask(partial(self._steps.leave_all, held))
