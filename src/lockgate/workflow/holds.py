"""Holds: keeping a version from being promoted until somebody lifts it."""

from lockgate.access.principals import current_caller
from lockgate.access.roles import Permission
from lockgate.access.sight import must_see, sees, sight_of
from lockgate.database import break_glass, holds
from lockgate.database.holds import Hold
from lockgate.errors import BadInput, Conflict, NotFound, Refused
from lockgate.events.event import EventType
from lockgate.promotions.request import valid_comment
from lockgate.promotions.target import Target
from lockgate.registry.adoption import identify_version
from lockgate.registry.mutation import Mutation
from lockgate.registry.transaction import reading
from lockgate.workflow.stores import Stores
from lockgate.workflow.submit import check_version

_MAY_HOLD = (Permission.ROLL_BACK, Permission.REVIEW, Permission.GOVERN)


def hold(stores: Stores, name: str, version: int, target: Target | None, reason: str | None) -> Hold:
    """Keep a version from being promoted.

    Args:
        stores: The stores.
        name: The model.
        version: The version's number.
        target: What it is kept from; None for every target.
        reason: Why; everybody who is refused reads it.

    Raises:
        BadInput: without a reason.
        NotFound: if there is no such version.
        Refused: if the caller may not.
    """
    why = valid_comment(reason).strip()
    if not why:
        raise BadInput("A hold needs a reason, for those whom it stops: --reason '...'.")
    must_see(current_caller(), name)
    with stores.registry.mutation(name) as begun:
        check_version(stores, begun, version)
        _check_may(begun, "put on hold versions")
        known = identify_version(begun.session, begun.model, version)
        caller = begun.caller.principal
        number = holds.add(begun.session, begun.model.id, known.id, target, why, caller.id, begun.now)
        told = str(target) if target is not None else None
        begun.record(EventType.HELD, version=version, target=told, after={"hold": number}, reason=why)
        found = holds.find(begun.session, begun.workspace, number)
        assert found is not None
        return found


def lift(stores: Stores, hold_id: int, comment: str | None) -> None:
    """Lift a hold: any person who reviews, operates or maintains the model.

    Raises:
        NotFound: if there is no such hold.
        Refused: if the caller may not.
        Conflict: if it was lifted already.
    """
    said = valid_comment(comment)
    with reading(stores.registry.engine) as session:
        found = holds.find(session, stores.registry.workspace, hold_id)
    if found is None or not sees(current_caller(), found.model):
        raise NotFound(f"There is no hold {hold_id}. `lockgate holds` lists them.")
    with stores.registry.mutation(found.model) as begun:
        _check_may(begun, "lift holds")
        now = holds.find(begun.session, begun.workspace, hold_id)
        if now is None or now.lifted_at is not None:
            raise Conflict(f"Hold {hold_id} was lifted already.")
        if any(
            emergency.decision_id == now.decision_id and emergency.by_id == begun.caller.principal.id
            for emergency in break_glass.of_model(begun.session, begun.model.id)
        ):
            raise Refused(f"{now.by} set this hold on what you broke the glass for; somebody else lifts it.")
        holds.lift(begun.session, hold_id, begun.caller.principal.id, said, begun.now)
        begun.record(EventType.HOLD_LIFTED, version=found.version, before={"hold": hold_id}, reason=said)


def in_force(stores: Stores) -> list[Hold]:
    """Return the holds that nobody has lifted, of the models that the caller may see."""
    with reading(stores.registry.engine) as session:
        return holds.in_force(session, stores.registry.workspace, sight_of(current_caller().principal))


def _check_may(begun: Mutation, what: str) -> None:
    caller = begun.caller.principal
    if caller.is_service or not any(caller.may(right, begun.name) for right in _MAY_HOLD):
        raise Refused(
            f"{caller.name} may not {what} of '{begun.name}': only people may, with the role reviewer, operator, "
            "maintainer or admin."
        )
