"""What follows when pointers have moved: the history of holders, and the requests that this overtakes."""

from collections.abc import Mapping, Sequence

from lockgate.database import history, requests
from lockgate.database.identities import Version
from lockgate.events.event import EventType
from lockgate.promotions.request import State
from lockgate.promotions.target import Target
from lockgate.registry.adoption import identify_version
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
            version = _version(mutation, number)
            history.end_tenure(mutation.session, mutation.model.id, change.target, version.id, mutation.now)
        for number in sorted(change.gained):
            version = _version(mutation, number)
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


def _version(mutation: Mutation, number: int) -> Version:
    return identify_version(mutation.session, mutation.model, number)


def _supersede(mutation: Mutation, change: Change, promoted_request: int | None) -> None:
    outcome = f"{mutation.caller.principal.name} moved {change.target} to version {max(change.gained)}"
    for request in requests.live(mutation.session, mutation.model.id, change.target):
        if request.id == promoted_request:
            continue
        end(mutation, request.id, State.SUPERSEDED, EventType.REQUEST_SUPERSEDED, outcome)


def end(mutation: Mutation, request_id: int, state: State, event: EventType | None, outcome: str) -> None:
    """End a request and say so; without an event where the caller tells the whole of it."""
    request = requests.get(mutation.session, request_id)
    request.check_change(state)
    requests.set_state(mutation.session, request_id, state, outcome)
    if event is None:
        return
    mutation.record(
        event,
        version=request.version,
        target=str(request.target),
        request_id=request_id,
        before={"state": request.state},
        after={"state": state},
        reason=outcome,
    )
