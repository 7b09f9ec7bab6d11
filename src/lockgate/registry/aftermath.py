"""What follows when pointers have moved: the requests that this overtakes end."""

from collections.abc import Sequence
from typing import Any

from lockgate.database import requests
from lockgate.events.event import EventType
from lockgate.events.glance import glance
from lockgate.promotions.request import PromotionRequest, State
from lockgate.registry.mutation import Mutation
from lockgate.registry.pointers import Change


def settle(mutation: Mutation, changes: Sequence[Change], promoted_request: int | None = None) -> None:
    """End the requests that asked for something else of targets that have moved.

    Args:
        mutation: The mutation, whose pointers have moved.
        changes: What changed.
        promoted_request: The request that was carried out; it is not overtaken.
    """
    for change in changes:
        if change.gained:
            _supersede(mutation, change, promoted_request)


def _supersede(mutation: Mutation, change: Change, promoted_request: int | None) -> None:
    by = f"request {promoted_request}, by" if promoted_request is not None else "by"
    outcome = f"version {max(change.gained)} took {change.target} first ({by} {mutation.caller.principal.name})"
    for request in requests.live(mutation.session, mutation.model.id, change.target):
        if request.id == promoted_request:
            continue
        end(mutation, request, State.SUPERSEDED, EventType.REQUEST_SUPERSEDED, outcome)


def end(mutation: Mutation, request: PromotionRequest, state: State, event: EventType | None, outcome: str) -> None:
    """End a request, as it was read in this mutation, and say so; without an event where the caller tells of it."""
    request.check_change(state)
    requests.set_state(mutation.session, request.id, state, outcome)
    if event is None:
        return
    mutation.record(
        event,
        version=request.version,
        target=str(request.target),
        request_id=request.id,
        before={"state": request.state},
        after={"state": state, **_at_a_glance(mutation, request)},
        reason=outcome,
    )


def _at_a_glance(mutation: Mutation, request: PromotionRequest) -> dict[str, Any]:
    gates = requests.gates(mutation.session, request.id)
    return glance(gates, requests.evidence(mutation.session, request.id))
