"""What follows when pointers have moved: the history of holders, and the requests that this overtakes."""

from collections.abc import Mapping, Sequence

from lockgate.database import history, requests
from lockgate.events.event import EventType
from lockgate.promotions.request import PromotionRequest, State
from lockgate.promotions.target import Target
from lockgate.registry.mutation import Mutation
from lockgate.registry.pointers import Change


def settle(
    mutation: Mutation,
    changes: Sequence[Change],
    decisions: Mapping[Target, int],
    promoted_request: int | None = None,
) -> None:
    """Write who holds what now, and end the requests that asked for something else of the same targets.

    Args:
        mutation: The mutation, whose pointers have moved.
        changes: What changed.
        decisions: The decision that allowed each closed target's change.
        promoted_request: The request that was carried out; it is not overtaken.
    """
    for change in changes:
        decision = decisions.get(change.target)
        for number in sorted(change.lost):
            version = mutation.version(number)
            history.end_tenure(mutation.session, mutation.model.id, change.target, version.id, mutation.now)
        for number in sorted(change.gained):
            version = mutation.version(number)
            history.begin_tenure(
                mutation.session,
                mutation.model.id,
                change.target,
                version.id,
                mutation.now,
                decision,
                mutation.caller.principal.id,
            )
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
        after={"state": state},
        reason=outcome,
    )
