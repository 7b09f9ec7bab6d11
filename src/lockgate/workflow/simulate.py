"""Trying a policy on what has happened: which moves of the past it would have refused, and what it would make of the
requests that are live. Nothing is written."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from lockgate.access.principals import Caller
from lockgate.access.roles import Permission
from lockgate.access.sight import Sight, sees, sight_of
from lockgate.database import history, identities, policies, record, requests
from lockgate.database.engine import now as time_of
from lockgate.database.history import Move
from lockgate.decisions.objections import Count, count
from lockgate.errors import Conflict, NotFound
from lockgate.events.event import EventType
from lockgate.gates import sandbox
from lockgate.gates.document import read_policy
from lockgate.promotions.request import LIVE, PromotionRequest
from lockgate.registry.transaction import reading
from lockgate.workflow.replay import Judged, Replay
from lockgate.workflow.stores import Stores

MAX_MOVES = 1_000
#: Of the newest findings of rules in audit mode.
MAX_FINDINGS = 100
#: After this time no further gate is judged: one may take a second, and a policy may have many.
MAX_SECONDS = 20.0
_WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class Simulation:
    """What a policy makes of the past and of live requests, newest first."""

    moves: tuple[Judged, ...]
    requests: tuple[Judged, ...]
    #: Which parts of the policy object to how many moves, most first.
    refused_by: tuple[Count, ...]
    #: Moves about which nothing is known any more, as their versions were deleted.
    left_out: int
    #: Whether there is more than the limit, or the time, let through.
    cut: bool
    #: Audit entries of what rules in audit mode found while they were in force.
    findings: tuple[Mapping[str, Any], ...]


def simulate(
    stores: Stores,
    caller: Caller,
    source: str | None,
    model: str | None = None,
    since: datetime | None = None,
    limit: int = 200,
) -> Simulation:
    """Judge what has happened by a policy, as far as the caller may see it.

    Args:
        stores: The stores.
        caller: Who asks.
        source: The policy's text; without it the policy in force.
        model: Only this model.
        since: Only moves and findings from then on.
        limit: How many moves, and how many requests, at most; no more than `MAX_MOVES`.

    Raises:
        BadInput: naming each line of the policy that is wrong.
        NotFound: if the caller sees no model of this name.
        Refused: if the caller may read nothing.
        Conflict: if others try policies at this moment.
    """
    caller.require_somewhere(Permission.READ)
    limit = min(limit, MAX_MOVES)
    with reading(stores.registry.engine) as session:
        text = policies.current(session).source if source is None else source
        now = time_of(session)
    policy = read_policy(text)
    scope = _Scope(stores, caller, model, since)
    scope.check()
    moves = scope.moves(limit + 1)
    live = scope.live_requests(limit + 1, now)
    findings = scope.findings(MAX_FINDINGS)
    with _turn(), sandbox.apart():
        replay = Replay(stores, policy, MAX_SECONDS)
        asked = replay.judge_requests(live[:limit], now)
        judged, left_out = replay.judge_moves(moves[:limit])
    return Simulation(
        moves=tuple(judged),
        requests=tuple(asked),
        refused_by=tuple(count(one.objections for one in judged)),
        left_out=left_out,
        cut=replay.was_cut or len(moves) > limit or len(live) > limit,
        findings=tuple(findings),
    )


_one_at_a_time = threading.Lock()


@contextmanager
def _turn() -> Iterator[None]:
    """Try one policy at a time in this process: whoever may read can try one, and its gates may be costly."""
    if not _one_at_a_time.acquire(timeout=_WAIT_SECONDS):
        raise Conflict("Another policy is being tried at this moment. Try again when that is done.", retry=True)
    try:
        yield
    finally:
        _one_at_a_time.release()


@dataclass(frozen=True)
class _Scope:
    """What the caller wants to see, and may."""

    stores: Stores
    caller: Caller
    model: str | None
    since: datetime | None

    def check(self) -> None:
        """Refuse a model that is not there, or that the caller does not see."""
        if self.model is None:
            return
        with reading(self.stores.registry.engine) as session:
            known = identities.model(session, self._workspace, self.model)
        if known is None or not sees(self.caller, self.model):
            raise NotFound(f"Registered Model with name={self.model} not found")

    def moves(self, limit: int) -> list[Move]:
        with self._reading() as session:
            return history.moves(session, self._workspace, self.model, self.since, self._sight, limit)

    def live_requests(self, limit: int, now: datetime) -> list[PromotionRequest]:
        with self._reading() as session:
            found = [
                request
                for state in LIVE
                for request in requests.search(
                    session, requests.Filter(self._workspace, state=state, model=self.model, sight=self._sight), limit
                )
                if not request.has_expired(now)
            ]
        return sorted(found, key=lambda request: -request.id)[:limit]

    def findings(self, limit: int) -> list[dict[str, Any]]:
        wanted = record.Filter(
            model=self.model, action=EventType.WOULD_REFUSE, workspace=self._workspace, since=self.since
        )
        with self._reading() as session:
            return record.entries(session, wanted, record.reader_of(self.caller.principal), limit)

    def _reading(self) -> AbstractContextManager[Session]:
        return reading(self.stores.registry.engine)

    @property
    def _sight(self) -> Sight | None:
        return sight_of(self.caller.principal)

    @property
    def _workspace(self) -> str:
        return self.stores.registry.workspace
