"""Who somebody is whom an OpenID provider vouches for: linked by an administrator, or provisioned."""

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.access.claims import Claimed, standing
from lockgate.access.identity import Provider
from lockgate.access.principals import LOCKGATE, Caller, Kind, Principal
from lockgate.access.roles import Permission
from lockgate.audit.entry import AuditEntry
from lockgate.database import people, sign_ins
from lockgate.database.engine import now
from lockgate.database.record import record
from lockgate.errors import BadInput, Conflict, NotFound, Unauthenticated
from lockgate.events.event import EventType
from lockgate.registry.transaction import reading, transaction
from lockgate.workflow.people import NewPrincipal, add_unlike_others, check_new, take_people_turn
from lockgate.workflow.principal_changes import record_change

_LONGEST = 255


def principal_of(engine: Engine, provider: Provider, said: Claimed) -> Principal:
    """Return the principal that a provider's subject is, with the standing that the provider's groups give.

    Raises:
        Unauthenticated: if nobody here is that subject, and the provider's word alone lets nobody in.
    """
    with reading(engine) as session:
        known = people.of_identity(session, said.issuer, said.subject)
        if known is None:
            _check_may_be_new(session, provider, said)
    if known is not None and _stands(provider, known, said):
        return known
    with transaction(engine) as session:
        return _brought_up_to_date(session, provider, said)


def service_account(engine: Engine, name: str) -> Principal:
    """Return the service account that a CI platform's job is.

    Raises:
        Unauthenticated: if there is none of this name.
    """
    with reading(engine) as session:
        known = people.of_name(session, name)
    if known is None or not known.is_service:
        raise Unauthenticated(
            f"The job is trusted as {name}, which is no active service account here. An administrator adds it with "
            f"`lockgate users add {name} --kind service --role ROLE`."
        )
    return known


def named(engine: Engine, name: str) -> Principal:
    """Return the principal that a trusted proxy says is calling.

    Raises:
        Unauthenticated: if there is none of this name.
    """
    with reading(engine) as session:
        known = people.of_name(session, name) if "\0" not in name else None
    if known is None:
        raise Unauthenticated(
            "The proxy in front of the server names somebody who is not known here. An administrator adds people with "
            "`lockgate users add NAME --role ROLE`."
        )
    return known


def link(engine: Engine, caller: Caller, name: str, issuer: str, subject: str) -> None:
    """Say that a principal is a subject of an issuer.

    Raises:
        NotFound: if there is no such principal.
        BadInput: if it is a service account, or the identity is malformed.
        Conflict: if the identity is somebody's already.
    """
    caller.require(Permission.ADMINISTER)
    _check(issuer, subject)
    with transaction(engine) as session:
        known = _person(session, name)
        if sign_ins.linked(session, issuer, subject) is not None:
            raise Conflict("This identity is linked already. `lockgate identities list` shows to whom.")
        sign_ins.link(session, known.id, issuer, subject, now(session))
        _on_record(session, caller, EventType.IDENTITY_LINKED, known, issuer, subject)


def unlink(engine: Engine, caller: Caller, name: str, issuer: str, subject: str) -> None:
    """Take an identity from a principal; who comes with it is not known from the next call on, in a session either.

    Raises:
        NotFound: if the principal does not have it.
    """
    caller.require(Permission.ADMINISTER)
    with transaction(engine) as session:
        known = _person(session, name)
        if sign_ins.linked(session, issuer, subject) != known.id:
            raise NotFound(f"{known.name} has no such identity. `lockgate identities list` shows them.")
        sign_ins.unlink(session, issuer, subject)
        sign_ins.end_sessions(session, known.id, now(session))
        _on_record(session, caller, EventType.IDENTITY_UNLINKED, known, issuer, subject)


def links(engine: Engine, caller: Caller) -> list[dict[str, Any]]:
    """Return all identities, for an admin."""
    caller.require(Permission.ADMINISTER)
    with reading(engine) as session:
        return sign_ins.links(session)


def _brought_up_to_date(session: Session, provider: Provider, said: Claimed) -> Principal:
    take_people_turn(session)
    known = people.of_identity(session, said.issuer, said.subject)
    if known is None:
        _check_may_be_new(session, provider, said)
        known = _provision(session, provider, said)
    if _stands(provider, known, said):
        return known
    groups, bindings = standing(provider, known, said)
    people.set_groups(session, known.id, groups)
    people.set_bindings(session, known.id, bindings)
    after = people.load(session, [known.id])[known.id]
    record_change(session, LOCKGATE, known, after, now(session), why=f"the groups that {provider.name} gives")
    return after


def _check_may_be_new(session: Session, provider: Provider, said: Claimed) -> None:
    if sign_ins.linked(session, said.issuer, said.subject) is not None:
        raise Unauthenticated("You have been deactivated here. Ask an administrator.")
    if not provider.provision:
        raise Unauthenticated(
            f"{provider.name} vouches for you, but nobody here is linked to your identity there. An administrator does "
            f"that with `lockgate identities link NAME --issuer {said.issuer} --subject {said.subject}`."
        )


def _provision(session: Session, provider: Provider, said: Claimed) -> Principal:
    """Make a principal without any standing for somebody new; never give them somebody's name."""
    try:
        check_new(NewPrincipal(said.name))
    except BadInput as error:
        raise Unauthenticated(f"{provider.name} gives you no name that can be used here. {error.message}") from None
    if (taken := people.named_alike(session, said.name)) is not None:
        raise Unauthenticated(
            f"{provider.name} calls you {said.name}, and that is somebody's name here already. If it is you, an "
            "administrator links you with "
            f"`lockgate identities link {taken} --issuer {said.issuer} --subject {said.subject}`."
        )
    at = now(session)
    principal_id = add_unlike_others(session, said.name, Kind.USER, at)
    known = people.load(session, [principal_id])[principal_id]
    sign_ins.link(session, known.id, said.issuer, said.subject, at)
    record_change(session, LOCKGATE, None, known, at, why=f"{provider.name} vouches for somebody new")
    _on_record(session, LOCKGATE, EventType.IDENTITY_LINKED, known, said.issuer, said.subject)
    return known


def _stands(provider: Provider, known: Principal, said: Claimed) -> bool:
    groups, bindings = standing(provider, known, said)
    return groups == known.groups and set(bindings) == set(known.bindings)


def _person(session: Session, name: str) -> Principal:
    known = people.find(session, name)
    if known is None:
        raise NotFound(f"There is no principal {name[:100]!r}. `lockgate users add` adds one.")
    if known.is_service:
        raise BadInput(
            f"{known.name} is a service account. The identity file says which CI jobs it is, under `platforms`."
        )
    return known


def _check(issuer: str, subject: str) -> None:
    for what, text in (("issuer", issuer), ("subject", subject)):
        if not 0 < len(text) <= _LONGEST or not text.isprintable():
            raise BadInput(f"The {what} must have 1 to {_LONGEST} printable characters, exactly as in the tokens.")


def _on_record(
    session: Session, caller: Caller, action: EventType, whose: Principal, issuer: str, subject: str
) -> None:
    entry = AuditEntry(
        action,
        caller.principal.name,
        caller.principal.id or None,
        caller.address,
        after={"name": whose.name, "issuer": issuer, "subject": subject},
    )
    record(session, entry, now(session))
