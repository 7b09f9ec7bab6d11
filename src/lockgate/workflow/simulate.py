"""Trying a policy on what has happened: which moves of the past it would have refused, and what it would make of the
requests that are live. Nothing is written."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from lockgate.access.principals import Caller
from lockgate.access.roles import Permission
from lockgate.database import history, identities, policies, requests
from lockgate.database.engine import now as time_of
from lockgate.database.history import Move
from lockgate.database.record import entries
from lockgate.decisions.objections import Count, count
from lockgate.errors import Conflict, NotFound
from lockgate.events.event import EventType
from lockgate.gates import sandbox
from lockgate.gates.document import read_policy
from lockgate.promotions.request import LIVE, PromotionRequest, State
from lockgate.registry.transaction import reading
from lockgate.workflow.replay import Judged, Replay
from lockgate.workflow.stores import Stores

MAX_MOVES = 1_000
#: Of the newest findings of rules in audit mode.
MAX_FINDINGS = 100
#: After this time no further gate is judged: one may take a second, and a policy may have many.
MAX_SECONDS = 20.0
_A_PAGE = 500
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


_T = TypeVar("_T")
#: Its number, the model that it is about (None: out of scope) and itself.
_Row = tuple[int, str | None, _T]


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
        if known is None or not self._shows(self.model):
            raise NotFound(f"Registered Model with name={self.model} not found")

    def moves(self, limit: int) -> list[Move]:
        def page(session: Session, before: int | None) -> list[_Row[Move]]:
            found = history.moves(session, self._workspace, self.model, self.since, before, _A_PAGE)
            return [(move.id, move.model.name, move) for move in found]

        return self._newest(page, limit)

    def live_requests(self, limit: int, now: datetime) -> list[PromotionRequest]:
        live = [request for state in LIVE for request in self._requests(state, limit) if not request.has_expired(now)]
        return sorted(live, key=lambda request: -request.id)[:limit]

    def _requests(self, state: State, limit: int) -> list[PromotionRequest]:
        def page(session: Session, before: int | None) -> list[_Row[PromotionRequest]]:
            asked = requests.Filter(self._workspace, state=state, model=self.model, before_id=before)
            return [(one.id, one.model, one) for one in requests.search(session, asked, _A_PAGE)]

        return self._newest(page, limit)

    def findings(self, limit: int) -> list[Mapping[str, Any]]:
        def page(session: Session, before: int | None) -> list[_Row[Mapping[str, Any]]]:
            found = entries(session, _A_PAGE, before, self.model, EventType.WOULD_REFUSE)
            return [(row["id"], row["model"] if self._has(row) else None, row) for row in found]

        return self._newest(page, limit)

    def _has(self, entry: Mapping[str, Any]) -> bool:
        return entry["workspace"] == self._workspace and (self.since is None or entry["at"] >= self.since)

    def _newest(self, page: Callable[[Session, int | None], Sequence[_Row[_T]]], limit: int) -> list[_T]:
        """Go through pages until there is enough that the caller may see: patterns of names are not for SQL."""
        found: list[_T] = []
        before: int | None = None
        with reading(self.stores.registry.engine) as session:
            while len(found) < limit:
                rows = page(session, before)
                found += [value for _, name, value in rows if name is not None and self._shows(name)]
                if len(rows) < _A_PAGE:
                    break
                before = rows[-1][0]
        return found[:limit]

    def _shows(self, name: str) -> bool:
        return self.caller.principal.may(Permission.READ, name)

    @property
    def _workspace(self) -> str:
        return self.stores.registry.workspace
