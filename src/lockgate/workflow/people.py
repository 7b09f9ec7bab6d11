"""Principals, their roles and tokens: adding, changing, signing in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.access.credentials import new_token, password_hash, token_digest
from lockgate.access.principals import LOCKGATE, Caller, Kind, Principal
from lockgate.access.roles import EVERY_MODEL, Permission, Role, RoleBinding
from lockgate.audit.entry import AuditEntry
from lockgate.database import people
from lockgate.database.engine import now
from lockgate.database.people import Token
from lockgate.database.record import record
from lockgate.errors import BadInput, Conflict, NotFound, Refused
from lockgate.events.event import EventType
from lockgate.registry.transaction import transaction

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
_RESERVED = ("lockgate", "system", "anonymous")
_MIN_PASSWORD = 8
_MAX_PASSWORD = 1024
_STRONG_ROLES = (Role.MAINTAINER, Role.ADMIN)
SIGN_IN_LIFETIME = timedelta(hours=1)
ADMIN = "admin"


@dataclass(frozen=True)
class NewPrincipal:
    """What is asked for a principal. Groups and roles add to those that are there; None leaves as it is."""

    name: str
    kind: Kind | None = None
    groups: tuple[str, ...] = ()
    bindings: tuple[RoleBinding, ...] = ()
    password: str | None = None
    #: The person who answers for a service account.
    owner: str | None = None


def parse_binding(text: str) -> RoleBinding:
    """Read a role binding from `ROLE` or `ROLE:PATTERN`.

    Raises:
        BadInput: with the roles that there are.
    """
    role, _, pattern = text.partition(":")
    if role not in set(Role):
        raise BadInput(f"There is no role {role[:100]!r}. Roles: {', '.join(Role)}.")
    if len(pattern) > 256:
        raise BadInput("A pattern over model names may have 256 characters.")
    return RoleBinding(Role(role), pattern or EVERY_MODEL)


def add(engine: Engine, caller: Caller, new: NewPrincipal) -> tuple[Principal, bool]:
    """Add a principal, or add groups and roles to one that is there.

    Returns:
        The principal, and whether it is new.

    Raises:
        BadInput: if a value is not allowed.
        Refused: if the caller may not, or would give away more than maintainers can.
    """
    check_new(new)
    caller.require(Permission.GOVERN)
    with transaction(engine) as session:
        known = people.find(session, new.name)
        _check_may_change(caller, known, new)
        at = now(session)
        if known is None:
            if (twin := people.differing_in_case(session, new.name)) is not None:
                raise BadInput(f"There is {twin} already, who could be taken for {new.name}. Choose another name.")
            principal_id = people.add(session, new.name, new.kind or Kind.USER, at)
        elif new.kind not in (None, known.kind):
            raise BadInput(f"{known.name} is a {known.kind} account and stays one. Choose another name.")
        else:
            principal_id = known.id
        groups = {*(known.groups if known else ()), *new.groups}
        people.set_groups(session, principal_id, groups)
        people.set_bindings(session, principal_id, (*(known.bindings if known else ()), *new.bindings))
        if new.password is not None:
            people.set_password(session, principal_id, password_hash(new.password))
        if new.owner is not None:
            _set_owner(session, principal_id, new.owner)
        after = people.load(session, [principal_id])[principal_id]
        _record(session, caller, EventType.PRINCIPAL_CHANGED, known, after, at, bool(new.password))
        return after, known is None


@dataclass(frozen=True)
class Replacement:
    """What a principal's groups, roles and standing become; None leaves as it is."""

    groups: tuple[str, ...] | None = None
    bindings: tuple[RoleBinding, ...] | None = None
    active: bool | None = None
    owner: str | None = None


def change(engine: Engine, caller: Caller, name: str, wanted: Replacement) -> Principal:
    """Replace a principal's groups or roles, activate or deactivate it.

    Raises:
        NotFound: if there is no such principal.
        Refused: if the caller may not.
        Conflict: if no active admin would be left.
    """
    caller.require(Permission.GOVERN)
    _check_groups(wanted.groups or ())
    with transaction(engine) as session:
        known = people.find(session, name)
        if known is None:
            raise NotFound(f"There is no principal {name[:100]!r}. `lockgate users list` shows who there is.")
        _check_may_change(caller, known, NewPrincipal(name, bindings=wanted.bindings or ()))
        at = now(session)
        if wanted.groups is not None:
            people.set_groups(session, known.id, wanted.groups)
        if wanted.bindings is not None:
            people.set_bindings(session, known.id, wanted.bindings)
        if wanted.active is not None:
            people.set_active(session, known.id, wanted.active)
        if wanted.owner is not None:
            _set_owner(session, known.id, wanted.owner)
        if people.active_admins(session) == 0:
            raise Conflict("Nobody would be left with the role admin. Give it to somebody else first.")
        after = people.load(session, [known.id])[known.id]
        _record(session, caller, EventType.PRINCIPAL_CHANGED, known, after, at, False)
        return after


def _set_owner(session: Session, principal_id: int, name: str) -> None:
    owned = people.load(session, [principal_id])[principal_id]
    if not owned.is_service:
        raise BadInput(f"{owned.name} is a person; only service accounts have an owner.")
    owner = people.find(session, name)
    if owner is None or owner.is_service:
        raise BadInput(f"The owner of {owned.name} must be a person who is known here; {name[:100]!r} is not.")
    people.set_owner(session, principal_id, owner.id)


def create_token(
    engine: Engine, caller: Caller, name: str, lifetime: timedelta | None
) -> tuple[str, int, datetime | None]:
    """Make a token: for oneself, or as an admin for anybody.

    Args:
        engine: The registry's database.
        caller: Who makes it.
        name: The principal that it is for.
        lifetime: How long it is valid; None for ever.

    Returns:
        The token, which nobody will see again, its id, and until when it is valid.

    Raises:
        NotFound: if there is no such principal.
        Refused: if it is somebody else's and the caller is no admin.
    """
    if name != caller.principal.name:
        caller.require(Permission.ADMINISTER)
    with transaction(engine) as session:
        owner = people.find(session, name)
        if owner is None:
            raise NotFound(f"There is no principal {name[:100]!r}. `lockgate users add` adds one.")
        at = now(session)
        expires_at = at + lifetime if lifetime else None
        token = new_token()
        token_id = people.add_token(session, owner.id, token_digest(token), "api", at, expires_at)
        _record_token(session, caller, EventType.TOKEN_CREATED, owner, token_id, at)
        return token, token_id, expires_at


def tokens(engine: Engine, caller: Caller) -> list[Token]:
    """Return the valid tokens: one's own, or all for an admin."""
    everybodys = caller.principal.may(Permission.ADMINISTER)
    with transaction(engine) as session:
        return people.valid_tokens(session, now(session), None if everybodys else caller.principal.name)


def revoke_token(engine: Engine, caller: Caller, token_id: int) -> None:
    """Make a token invalid.

    Raises:
        NotFound: if there is no such token.
        Refused: if it is somebody else's and the caller is no admin.
    """
    with transaction(engine) as session:
        owner = people.token_owner(session, token_id)
        mine = owner is not None and owner.id == caller.principal.id
        if owner is None or not (mine or caller.principal.may(Permission.ADMINISTER)):
            raise NotFound(f"You have no token {token_id}.")
        at = now(session)
        people.revoke_token(session, token_id, at)
        _record_token(session, caller, EventType.TOKEN_REVOKED, owner, token_id, at)


def everybody(engine: Engine, caller: Caller) -> list[Principal]:
    """Return all principals."""
    caller.require_somewhere(Permission.READ)
    with transaction(engine) as session:
        return people.every(session)


def ensure_admin(engine: Engine, token: str | None) -> str | None:
    """Make sure that somebody can administer the server.

    Args:
        engine: The registry's database.
        token: A token that the principal `admin` shall have (`LOCKGATE_ADMIN_TOKEN`).

    Returns:
        A one-time sign-in token, if no admin has ever got in and no token is given.
    """
    with transaction(engine) as session:
        at = now(session)
        if token is None and people.admins_have_entered(session):
            return None
        admin = _admin(session, at)
        if token is not None:
            if not people.token_exists(session, token_digest(token)):
                token_id = people.add_token(session, admin.id, token_digest(token), "api", at, None)
                _record_token(session, LOCKGATE, EventType.TOKEN_CREATED, admin, token_id, at)
            return None
        once = new_token()
        people.add_token(session, admin.id, token_digest(once), "sign-in", at, at + SIGN_IN_LIFETIME)
        return once


def _admin(session: Session, at: datetime) -> Principal:
    known = people.find(session, ADMIN)
    admin_id = known.id if known else people.add(session, ADMIN, Kind.USER, at)
    people.set_active(session, admin_id, True)
    bindings = (*(known.bindings if known else ()), RoleBinding(Role.ADMIN))
    people.set_bindings(session, admin_id, bindings)
    after = people.load(session, [admin_id])[admin_id]
    if known != after:
        _record(session, LOCKGATE, EventType.PRINCIPAL_CHANGED, known, after, at, False)
    return after


def check_new(new: NewPrincipal) -> None:
    """Refuse values that no principal may have.

    Raises:
        BadInput: saying which, and what is allowed.
    """
    if not _NAME.fullmatch(new.name):
        raise BadInput(
            f"{new.name[:100]!r} is no name for a principal. Use letters, digits and . _ @ + -, at most 100, "
            "starting with a letter or digit."
        )
    if new.name.lower() in _RESERVED:
        raise BadInput(f"The name {new.name!r} is Lockgate's own. Choose another one.")
    _check_groups(new.groups)
    if new.password is not None and not _MIN_PASSWORD <= len(new.password) <= _MAX_PASSWORD:
        raise BadInput(f"A password has {_MIN_PASSWORD} to {_MAX_PASSWORD} characters.")


def _check_groups(groups: Sequence[str]) -> None:
    for group in groups:
        if not _NAME.fullmatch(group):
            raise BadInput(f"{group[:100]!r} is no name for a group. Use letters, digits and . _ @ + -.")


def _check_may_change(caller: Caller, known: Principal | None, new: NewPrincipal) -> None:
    held: Sequence[RoleBinding] = known.bindings if known else ()
    strong = any(binding.role in _STRONG_ROLES for binding in (*held, *new.bindings))
    takes_over = known is not None and new.password is not None and known.id != caller.principal.id
    if (strong or takes_over) and not caller.principal.may(Permission.ADMINISTER):
        raise Refused(
            f"Only an admin gives the roles {' and '.join(_STRONG_ROLES)}, and changes those who have them or "
            "somebody else's password."
        )


def _record(
    session: Session,
    caller: Caller,
    action: EventType,
    before: Principal | None,
    after: Principal,
    at: datetime,
    new_password: bool,
) -> None:
    entry = AuditEntry(
        action,
        caller.principal.name,
        caller.principal.id or None,
        caller.address,
        before=_shown(before) if before else {},
        after={**_shown(after), **({"password": "changed"} if new_password else {})},
    )
    record(session, entry, at)


def _record_token(
    session: Session, caller: Caller, action: EventType, owner: Principal, token_id: int, at: datetime
) -> None:
    entry = AuditEntry(
        action,
        caller.principal.name,
        caller.principal.id or None,
        caller.address,
        after={"token": token_id, "principal": owner.name},
    )
    record(session, entry, at)


def _shown(principal: Principal) -> dict[str, Any]:
    return {
        "name": principal.name,
        "kind": principal.kind,
        "active": principal.active,
        "groups": sorted(principal.groups),
        "roles": sorted(str(binding) for binding in principal.bindings),
        **({"owner": principal.owner} if principal.owner else {}),
    }
