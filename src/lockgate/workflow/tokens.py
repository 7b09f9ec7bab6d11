"""Tokens: making, listing and revoking them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.access.caveats import Caveats, as_data
from lockgate.access.credentials import new_token, token_digest
from lockgate.access.principals import Caller, Principal
from lockgate.access.roles import Permission
from lockgate.audit.entry import AuditEntry
from lockgate.database import people
from lockgate.database.engine import now
from lockgate.database.people import Token
from lockgate.database.record import record
from lockgate.errors import NotFound, Refused
from lockgate.events.event import EventType
from lockgate.registry.transaction import reading, transaction


@dataclass(frozen=True)
class NewToken:
    """A token that was just made; the only time that it is seen."""

    id: int
    token: str
    expires_at: datetime | None
    caveats: Caveats


def create(engine: Engine, caller: Caller, name: str, lifetime: timedelta | None, caveats: Caveats = ()) -> NewToken:
    """Make a token: for oneself, or as an admin for anybody.

    A credential makes none that is stronger: its own caveats go along, and one for the same principal ends when it
    does.

    Args:
        engine: The registry's database.
        caller: Who makes it.
        name: The principal that it is for.
        lifetime: How long it is valid; None for ever.
        caveats: What it is narrowed to.

    Raises:
        NotFound: if there is no such principal.
        Refused: if it is somebody else's and the caller is no admin, or if the caller is a CI job.
    """
    if caller.principal.is_job:
        raise Refused(
            "A CI job needs no token that is stored: its platform gives each run one. For what is no such job an "
            f"administrator makes one with `lockgate tokens create {name[:100]}`."
        )
    if name != caller.principal.name:
        caller.require(Permission.ADMINISTER)
    with transaction(engine) as session:
        owner = people.find(session, name)
        if owner is None:
            raise NotFound(f"There is no principal {name[:100]!r}. `lockgate users add` adds one.")
        at = now(session)
        expires_at = _earliest(at + lifetime if lifetime else None, _own_end(caller, owner))
        inherited = tuple(dict.fromkeys((*caller.principal.caveats, *caveats)))
        token = new_token()
        token_id = people.add_token(session, owner.id, token_digest(token), "api", at, expires_at, caveats=inherited)
        record_token(session, caller, EventType.TOKEN_CREATED, owner, token_id, at, inherited)
        return NewToken(token_id, token, expires_at, inherited)


def _own_end(caller: Caller, owner: Principal) -> datetime | None:
    return caller.principal.ends_at if owner.id == caller.principal.id else None


def _earliest(*times: datetime | None) -> datetime | None:
    return min((at for at in times if at is not None), default=None)


def valid(engine: Engine, caller: Caller) -> list[Token]:
    """Return the valid tokens: one's own, or all for an admin."""
    everybodys = caller.principal.may(Permission.ADMINISTER)
    with reading(engine) as session:
        return people.valid_tokens(session, now(session), None if everybodys else caller.principal.name)


def revoke(engine: Engine, caller: Caller, token_id: int) -> None:
    """Make a token invalid.

    Raises:
        NotFound: if there is no such token.
        Refused: if it is somebody else's and the caller is no admin.
    """
    with transaction(engine) as session:
        owner = people.token_owner(session, token_id)
        mine = owner is not None and owner.id == caller.principal.id and _may_end(caller.principal, token_id)
        if owner is None or not (mine or caller.principal.may(Permission.ADMINISTER)):
            raise NotFound(f"You have no token {token_id}.")
        at = now(session)
        people.revoke_token(session, token_id, at)
        record_token(session, caller, EventType.TOKEN_REVOKED, owner, token_id, at)


def _may_end(owner: Principal, token_id: int) -> bool:
    """A token that is narrowed ends itself, and none of its principal's others."""
    return not owner.caveats or owner.token_id == token_id


def record_token(
    session: Session,
    caller: Caller,
    action: EventType,
    owner: Principal,
    token_id: int,
    at: datetime,
    caveats: Caveats = (),
) -> None:
    """Write down that a token was made or revoked; never the token."""
    narrowed = {"caveats": [as_data(caveat) for caveat in caveats]} if caveats else {}
    entry = AuditEntry(
        action,
        caller.principal.name,
        caller.principal.id or None,
        caller.address,
        after={"token": token_id, "principal": owner.name, **narrowed},
    )
    record(session, entry, at)
