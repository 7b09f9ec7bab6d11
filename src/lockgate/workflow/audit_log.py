"""The audit log for those who prove it: exported, verified, signed."""

from dataclasses import dataclass
from typing import Any

from lockgate.access.principals import Caller
from lockgate.access.roles import Permission
from lockgate.audit.envelope import Signer
from lockgate.database import chain
from lockgate.database.chain import Followed
from lockgate.registry.transaction import reading
from lockgate.workflow.checkpoints import Schedule, sign_head
from lockgate.workflow.signing import signer
from lockgate.workflow.stores import Stores
from lockgate.workflow.testimony import Testimony, check_uncontradicted, hear

#: How many entries one call gives, and how many it follows: some seconds of work.
MAX_LINES = 10_000
MAX_FOLLOWED = 50_000


@dataclass(frozen=True)
class Verified:
    """What following some entries has found."""

    followed: Followed
    problems: tuple[str, ...]
    #: Witnesses that were compared, and such as could not be asked.
    agreeing: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()
    #: Restores that somebody acknowledged, a sentence each.
    restores: tuple[str, ...] = ()


def export(stores: Stores, caller: Caller, after: int, most: int) -> list[str]:
    """Return entries as the lines that were chained, oldest first.

    Args:
        stores: The stores.
        caller: Who asks; all of the log is for who governs.
        after: The number of the entry before the first one that is wanted.
        most: How many.

    Raises:
        Refused: if the caller does not govern all models.
    """
    caller.require(Permission.GOVERN)
    with reading(stores.registry.engine) as session:
        return chain.lines(session, after, most)


def verify(stores: Stores, caller: Caller, after: int, most: int) -> Verified:
    """Follow the chain in the database; at its end, compare it with the checkpoints that witnesses were given last.

    Args:
        stores: The stores.
        caller: Who asks.
        after: The number of an entry that was verified before; 0 to begin.
        most: How many entries to follow.

    Raises:
        Refused: if the caller does not govern all models.
    """
    caller.require(Permission.GOVERN)
    engine = stores.registry.engine
    with reading(engine) as session:
        followed = chain.follow(session, after, most)
    if followed.goes_on:
        return Verified(followed, followed.problems)
    uris = Schedule.read().uris
    with reading(engine) as session:
        restores = chain.restores(session)
    told = hear(engine, uris, signer(engine)).testimonies if uris else ()
    return Verified(
        followed,
        (*followed.problems, *(f"{one.name}: {sentence}." for one in told for sentence in one.against)),
        tuple(f"{one.name} ({one.agreeing} compared)" for one in told if one.agreeing and not one.against),
        tuple(_not_compared(one) for one in told if not one.agreeing and not one.against),
        tuple(map(str, restores)),
    )


def _not_compared(told: Testimony) -> str:
    return f"{told.name}: {told.unasked or 'it has no checkpoint, or gives none'}"


def signed_head(stores: Stores, caller: Caller) -> dict[str, Any]:
    """Return a signed checkpoint of what the log comes to now.

    Raises:
        Refused: if the caller may read nothing.
        Conflict: if this server has nothing to sign with, or a witness contradicts the log.
    """
    caller.require_somewhere(Permission.READ)
    engine = stores.registry.engine
    signs = signer(engine)
    check_uncontradicted(engine, Schedule.read().uris, signs)
    return sign_head(engine, signs)[1]


def signs_with(stores: Stores, caller: Caller) -> Signer:
    """Return what this server signs with, for its public half to be shown.

    Raises:
        Refused: if the caller may read nothing.
        Conflict: if this server has nothing to sign with.
    """
    caller.require_somewhere(Permission.READ)
    return signer(stores.registry.engine)
