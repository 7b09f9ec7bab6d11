"""Who there is: adding people and service accounts, and changing their roles, groups and standing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.access.credentials import TOKEN_PREFIX, new_token, password_hash, token_digest
from lockgate.access.principals import LOCKGATE, NAME, Caller, Kind, Principal
from lockgate.access.roles import Permission, Role, RoleBinding
from lockgate.database import people, sign_ins
from lockgate.database.engine import now, take_turn
from lockgate.errors import BadInput, Conflict, NotFound, Refused
from lockgate.events.event import EventType
from lockgate.registry.transaction import reading, transaction
from lockgate.workflow.humans import set_owner, set_person
from lockgate.workflow.principal_changes import record_change
from lockgate.workflow.tokens import record_token

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
        take_people_turn(session)
        known = people.find(session, new.name)
        _check_may_change(caller, known, new)
        at = now(session)
        owner = new.owner
        if known is None:
            kind = new.kind or Kind.USER
            principal_id = add_unlike_others(session, new.name, kind, at)
            owner = owner or (_owner_by_default(caller, new.name) if kind is Kind.SERVICE else None)
        elif new.kind not in (None, known.kind):
            raise BadInput(f"{known.name} is a {known.kind} account and stays one. Choose another name.")
        else:
            principal_id = known.id
        groups = {*(known.groups if known else ()), *new.groups}
        people.set_groups(session, principal_id, groups)
        people.set_bindings(session, principal_id, (*(known.bindings if known else ()), *new.bindings))
        if new.password is not None:
            people.set_password(session, principal_id, password_hash(new.password))
            # Who had the old one may have been somebody else.
            sign_ins.end_sessions(session, principal_id, at)
        if owner is not None:
            set_owner(session, caller, principal_id, owner)
        after = people.load(session, [principal_id])[principal_id]
        record_change(session, caller, known, after, at, bool(new.password))
        return after, known is None


def take_people_turn(session: Session) -> None:
    """Let only one transaction at a time change who there is and what they may: the last admin stays."""
    take_turn(session, "people")


def add_unlike_others(session: Session, name: str, kind: Kind, at: datetime) -> int:
    """Add a principal whose name can't be taken for another's; return its id."""
    if (twin := people.named_alike(session, name)) is not None:
        raise BadInput(f"There is {twin} already, who could be taken for {name}. Choose another name.")
    return people.add(session, name, kind, at)


def _owner_by_default(caller: Caller, name: str) -> str:
    """Whoever lets a service account in answers for it, if they are a person."""
    if caller.principal.is_service:
        raise BadInput(
            "A person answers for a service account: say who "
            f"(`lockgate users add {name} --kind service --owner NAME`)."
        )
    return caller.principal.name


@dataclass(frozen=True)
class Replacement:
    """What a principal's groups, roles and standing become; None leaves as it is."""

    groups: tuple[str, ...] | None = None
    bindings: tuple[RoleBinding, ...] | None = None
    active: bool | None = None
    owner: str | None = None
    #: The account beside which this one is a second one of the same person; its own name: none any more.
    same_person_as: str | None = None


def change(engine: Engine, caller: Caller, name: str, wanted: Replacement) -> Principal:
    """Replace a principal's groups or roles, activate or deactivate it.

    Raises:
        NotFound: if there is no such principal.
        Refused: if the caller may not.
        Conflict: if no active admin would be left.
    """
    caller.require(Permission.GOVERN)
    check_groups(wanted.groups or ())
    with transaction(engine) as session:
        take_people_turn(session)
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
            set_owner(session, caller, known.id, wanted.owner)
        if wanted.same_person_as is not None:
            set_person(session, caller, known, wanted.same_person_as)
        check_admin_left(session)
        after = people.load(session, [known.id])[known.id]
        record_change(session, caller, known, after, at)
        return after


def check_admin_left(session: Session) -> None:
    """Refuse a change after which nobody could administer the server.

    Raises:
        Conflict: saying so.
    """
    if people.active_admins(session) == 0:
        raise Conflict("Nobody would be left with the role admin. Give it to somebody else first.")


def everybody(engine: Engine, caller: Caller) -> list[Principal]:
    """Return all principals."""
    caller.require_somewhere(Permission.READ)
    with reading(engine) as session:
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
                record_token(session, LOCKGATE, EventType.TOKEN_CREATED, admin, token_id, at)
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
        record_change(session, LOCKGATE, known, after, at)
    return after


def check_new(new: NewPrincipal) -> None:
    """Refuse values that no principal may have.

    Raises:
        BadInput: saying which, and what is allowed.
    """
    check_principal_name(new.name)
    check_groups(new.groups)
    if new.password is not None and not _MIN_PASSWORD <= len(new.password) <= _MAX_PASSWORD:
        raise BadInput(f"A password has {_MIN_PASSWORD} to {_MAX_PASSWORD} characters.")
    if (new.password or "").startswith(TOKEN_PREFIX):
        raise BadInput(f"A password that begins with {TOKEN_PREFIX} would be taken for a token. Choose another one.")


def check_principal_name(name: str) -> None:
    """Refuse a name that a principal can't have."""
    if not NAME.fullmatch(name):
        raise BadInput(
            f"{name[:100]!r} is no name for a principal. Use letters, digits and . _ @ + -, at most 100, "
            "starting with a letter or digit."
        )
    if name.lower() in _RESERVED:
        raise BadInput(f"The name {name!r} is Lockgate's own. Choose another one.")


def check_groups(groups: Iterable[str]) -> None:
    """Refuse a name that a group can't have."""
    for group in groups:
        if not NAME.fullmatch(group):
            raise BadInput(f"{group[:100]!r} is no name for a group. Use letters, digits and . _ @ + -.")


def _check_may_change(caller: Caller, known: Principal | None, new: NewPrincipal) -> None:
    check_may_bind(caller, known, new.bindings)
    if new.password is not None and caller.principal.is_job:
        raise Refused("A CI job sets no passwords: it signs in with its platform's token each time.")
    # A password is not narrowed, so a token that is sets none, not even its own principal's.
    mine = known is not None and known.id == caller.principal.id and not caller.principal.caveats
    takes_over = known is not None and new.password is not None and not mine
    _require_admin_if(caller, takes_over)


def check_may_bind(caller: Caller, known: Principal | None, bindings: Iterable[RoleBinding]) -> None:
    """Refuse to change somebody strong, or to make somebody strong, unless the caller is an admin.

    Raises:
        Refused: saying so.
    """
    held: Sequence[RoleBinding] = known.bindings if known else ()
    _require_admin_if(caller, any(binding.role in _STRONG_ROLES for binding in (*held, *bindings)))


def _require_admin_if(caller: Caller, needed: bool) -> None:
    if needed and not caller.principal.may(Permission.ADMINISTER):
        raise Refused(
            f"Only an admin gives the roles {' and '.join(_STRONG_ROLES)}, and changes those who have them or "
            "somebody else's password."
        )
