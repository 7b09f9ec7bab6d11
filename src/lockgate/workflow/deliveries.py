"""Deliveries: what was told to webhooks, ours and MLflow's, and what is told once more."""

from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from lockgate.access.principals import Caller
from lockgate.access.roles import EVERY_MODEL, Permission
from lockgate.database import deliveries, webhooks
from lockgate.database.deliveries import Attempted, Delivery, State
from lockgate.database.engine import now
from lockgate.database.webhooks import Status, Webhook
from lockgate.delivery import receivers
from lockgate.delivery.names import lane_now
from lockgate.errors import Conflict, NotFound
from lockgate.registry import mlflow_webhooks
from lockgate.registry.transaction import reading, transaction
from lockgate.workflow.drawn import Drawn, draw
from lockgate.workflow.stores import Stores
from lockgate.workflow.webhooks import maintains, maintains_models, put_on_record


@dataclass(frozen=True)
class Page:
    """Some deliveries with all attempts, newest first, and where to go on."""

    made: tuple[tuple[Delivery, list[Attempted]], ...]
    next_before: int | None


@dataclass(frozen=True)
class Shown:
    """A delivery with all there is to see of it: what was attempted, and the call as it would be made now."""

    delivery: Delivery
    webhook: Webhook
    attempted: tuple[Attempted, ...]
    drawn: Drawn


def receivers_of(stores: Stores, caller: Caller) -> list[Webhook]:
    """Return the webhooks, ours and MLflow's, whose deliveries the caller may see."""
    with reading(stores.registry.engine) as session:
        return _theirs(session, stores, caller)


def delivered(
    stores: Stores, caller: Caller, webhook_id: str | None, state: State | None, before_id: int | None, limit: int
) -> Page:
    """Return what was delivered or is to be, with all attempts, newest first.

    Args:
        stores: The stores.
        caller: Who asks: they see what goes to webhooks that they maintain.
        webhook_id: Only to this one, if there is one.
        state: Only those in this state, if there is one.
        before_id: Only those older than this one, if there is one.
        limit: How many are looked at. What a webhook was told before it was for fewer models is left out for who
            doesn't maintain those.
    """
    with reading(stores.registry.engine) as session:
        theirs = [one.id for one in _theirs(session, stores, caller) if webhook_id in (None, one.id)]
        found = deliveries.newest(session, theirs, state, before_id, limit + 1)
        shown = [one for one in found[:limit] if _may_know(caller, one)]
        attempted = deliveries.attempted(session, [one.id for one in shown])
    return Page(
        tuple((one, attempted.get(one.id, [])) for one in shown),
        found[limit - 1].id if len(found) > limit else None,
    )


def redeliver(stores: Stores, caller: Caller, delivery_id: int) -> tuple[Delivery, list[Attempted]]:
    """Deliver something once more, whatever has become of it: under the same id, before what waits behind it.

    Returns:
        The delivery as it waits now, and what was attempted of it so far.

    Raises:
        NotFound: if there is no such delivery to a webhook that the caller maintains.
        Conflict: if its webhook gets nothing now.
    """
    with transaction(stores.registry.engine) as session:
        found, to = _find_locked(session, stores, caller, delivery_id)
        if to.status is not Status.ACTIVE:
            raise Conflict(f"Webhook {to.id} is {to.status}, so nothing is delivered to it. Make it active first.")
        # Its model may have been renamed meanwhile, and what comes after it wait under the new name.
        waits = replace(found, model=lane_now(session, found, to), state=State.WAITING, finished_at=None)
        deliveries.again(session, waits, now(session))
        # Once that is committed, who delivers is woken.
        put_on_record(session, caller, to, after={"webhook_id": to.id, "redelivered": found.id})
        attempted = deliveries.attempted(session, [found.id]).get(found.id, [])
        return waits, attempted


def show(stores: Stores, caller: Caller, delivery_id: int) -> Shown:
    """Return a delivery with its attempts and its call, drawn again.

    Raises:
        NotFound: if there is no such delivery to a webhook that the caller maintains.
    """
    engine = stores.registry.engine
    with reading(engine) as session:
        found, to = _find(session, stores, caller, delivery_id)
        attempted = deliveries.attempted(session, [found.id]).get(found.id, [])
        return Shown(found, to, tuple(attempted), draw(session, engine, found, to))


def _find(session: Session, stores: Stores, caller: Caller, delivery_id: int) -> tuple[Delivery, Webhook]:
    found = deliveries.find(session, delivery_id)
    to = next((one for one in _theirs(session, stores, caller) if found and one.id == found.webhook_id), None)
    if found is None or to is None or not _may_know(caller, found):
        raise NotFound(f"There is no delivery {delivery_id}. `lockgate deliveries` lists them.")
    return found, to


def _find_locked(session: Session, stores: Stores, caller: Caller, delivery_id: int) -> tuple[Delivery, Webhook]:
    """Return a delivery and its webhook as they are once the webhook is locked: until then both may change."""
    _, to = _find(session, stores, caller, delivery_id)
    receivers.lock(session, to)
    return _find(session, stores, caller, delivery_id)


def _may_know(caller: Caller, delivery: Delivery) -> bool:
    """Say whether somebody maintains what a delivery is about: its model, whose name is no pattern, or all of them."""
    if not delivery.model:
        return maintains_models(caller, EVERY_MODEL)
    return caller.principal.may(Permission.GOVERN, delivery.model)


def _theirs(session: Session, stores: Stores, caller: Caller) -> list[Webhook]:
    workspace = stores.registry.workspace
    every = [*webhooks.of_workspace(session, workspace), *mlflow_webhooks.of_workspace(session, workspace)]
    return [one for one in every if maintains(caller, one)]
