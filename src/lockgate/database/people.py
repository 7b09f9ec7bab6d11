"""Principals, their groups, roles and tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    bindparam,
    case,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.orm import Session

from lockgate.access.caveats import Caveats, from_json, to_json
from lockgate.access.principals import Kind, Principal
from lockgate.access.roles import EVERY_MODEL, Role, RoleBinding
from lockgate.database.engine import ClockMs, from_ms, to_ms
from lockgate.database.tables import group_members, identities, principals, role_bindings, tokens


@dataclass(frozen=True)
class Token:
    """What is known of a token; the token itself is not."""

    id: int
    principal: str
    created_at: datetime
    expires_at: datetime | None
    #: To the minute or so; None if it was never used.
    last_used_at: datetime | None
    caveats: Caveats


_owners = principals.alias()
#: The first account of the human behind an account: their own, or of a service account's owner.
_humans = principals.alias()
_HUMAN_ID = func.coalesce(_owners.c.person_id, _owners.c.id, principals.c.person_id, principals.c.id)
#: Each group and each binding of a principal, a row each.
_standings = union_all(
    select(
        group_members.c.principal_id,
        group_members.c.group_name,
        null().cast(role_bindings.c.role.type).label("role"),
        null().cast(role_bindings.c.pattern.type).label("pattern"),
    ),
    select(
        role_bindings.c.principal_id,
        null().cast(group_members.c.group_name.type).label("group_name"),
        role_bindings.c.role,
        role_bindings.c.pattern,
    ),
).subquery()


#: Principals with their standing, for other statements to build on: `principal` makes one of its rows. Composed once:
#: that takes longer than asking.
STANDING: Select[Any] = (
    select(
        *(principals.c[name] for name in ("id", "name", "kind", "active")),
        _owners.c.name.label("owner"),
        _humans.c.name.label("human"),
        *(_standings.c[name] for name in ("group_name", "role", "pattern")),
    )
    .select_from(principals)
    .outerjoin(_owners, principals.c.owner_id == _owners.c.id)
    .join(_humans, _humans.c.id == _HUMAN_ID)
    .outerjoin(_standings, principals.c.id == _standings.c.principal_id)
)
_parents = tokens.alias()
_NOTED_EVERY_MS = 60_000
_NOTE_USE = (
    update(tokens)
    .where(
        tokens.c.id == bindparam("used"),
        or_(tokens.c.last_used_at.is_(None), tokens.c.last_used_at < ClockMs() - _NOTED_EVERY_MS),
    )
    .values(last_used_at=ClockMs())
)
# Of the API token that this is, or that began this session. A session that began otherwise ends too, but whoever began
# it has what it was begun with still.
_ENDS = func.coalesce(_parents.c.expires_at, case((tokens.c.use == "api", tokens.c.expires_at)))
_OF_TOKEN = (
    STANDING.add_columns(tokens.c.id.label("token_id"), tokens.c.caveats, _ENDS.label("ends_at"))
    .join(tokens, tokens.c.principal_id == principals.c.id)
    .outerjoin(_parents, tokens.c.parent == _parents.c.digest)
    .where(
        principals.c.active,
        tokens.c.digest == bindparam("digest"),
        tokens.c.use == bindparam("use"),
        tokens.c.revoked_at.is_(None),
        or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > ClockMs()),
        _parents.c.revoked_at.is_(None),
        or_(_parents.c.expires_at.is_(None), _parents.c.expires_at > ClockMs()),
    )
)
_OF_IDENTITY = STANDING.join(identities, identities.c.principal_id == principals.c.id).where(
    principals.c.active, identities.c.issuer == bindparam("issuer"), identities.c.subject == bindparam("subject")
)
_BY_NAME = STANDING.where(principals.c.active, principals.c.name == bindparam("name"))
_BY_ID = STANDING.where(principals.c.id.in_(bindparam("ids", expanding=True)))
_kin = principals.alias()
_KIN = (
    select(principals.c.name, _owners.c.name.label("owner"), _kin.c.name.label("kin"))
    .outerjoin(_owners, principals.c.owner_id == _owners.c.id)
    .join(_kin, func.coalesce(_kin.c.person_id, _kin.c.id) == _HUMAN_ID)
    .where(
        principals.c.name.in_(bindparam("names", expanding=True)),
        _kin.c.id != principals.c.id,
        _kin.c.kind == Kind.USER,
    )
    .order_by(principals.c.name, _kin.c.name)
)


def load(session: Session, ids: Iterable[int]) -> dict[int, Principal]:
    """Return principals by their ids."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    found = _principals(session.execute(_BY_ID, {"ids": wanted}))
    return {principal.id: principal for principal in found}


def _principals(rows: Iterable[Row[Any]]) -> list[Principal]:
    found: dict[int, list[Row[Any]]] = {}
    for row in rows:
        found.setdefault(row.id, []).append(row)
    return [principal(rows) for rows in found.values()]


def principal(rows: Sequence[Row[Any]]) -> Principal:
    """Return a principal from its rows of `STANDING`, one for each of its groups and bindings."""
    first = rows[0]
    return Principal(
        id=first.id,
        name=first.name,
        kind=Kind(first.kind),
        active=first.active,
        groups=frozenset(row.group_name for row in rows if row.group_name is not None),
        bindings=tuple(RoleBinding(Role(row.role), row.pattern) for row in rows if row.role is not None),
        owner=first.owner,
        human=first.human,
    )


def find(session: Session, name: str) -> Principal | None:
    """Return a principal by name."""
    found = session.execute(select(principals.c.id).where(principals.c.name == name)).scalar()
    return load(session, [found])[found] if found is not None else None


def named_alike(session: Session, name: str) -> str | None:
    """Return the name of a principal that is this one, or differs from it only in case."""
    return session.execute(select(principals.c.name).where(func.lower(principals.c.name) == name.lower())).scalar()


def every(session: Session) -> list[Principal]:
    """Return all principals, by name."""
    ids = session.execute(select(principals.c.id)).scalars().all()
    return sorted(load(session, ids).values(), key=lambda principal: principal.name)


def of_token(session: Session | Connection, digest: str, use: str) -> Principal | None:
    """Return the active principal behind a token that is valid now, of a use: `api`, `session` or `sign-in`."""
    rows = session.execute(_OF_TOKEN, {"digest": digest, "use": use})
    found = rows.all()
    if not found:
        return None
    token = found[0]
    ends_at = from_ms(token.ends_at) if token.ends_at is not None else None
    return replace(principal(found), token_id=token.token_id, caveats=from_json(token.caveats), ends_at=ends_at)


def of_identity(session: Session, issuer: str, subject: str) -> Principal | None:
    """Return the active principal that an OpenID issuer's subject is."""
    rows = session.execute(_OF_IDENTITY, {"issuer": issuer, "subject": subject})
    return next(iter(_principals(rows)), None)


def of_name(session: Session, name: str) -> Principal | None:
    """Return the active principal of a name, for whoever proves by other means that this is who calls."""
    return next(iter(_principals(session.execute(_BY_NAME, {"name": name}))), None)


def add(session: Session, name: str, kind: Kind, now: datetime) -> int:
    """Add a principal without roles; return its id."""
    statement = insert(principals).values(name=name, kind=kind, active=True, created_at=to_ms(now))
    return int(session.execute(statement.returning(principals.c.id)).scalar_one())


def set_password(session: Session, principal_id: int, password_hash: str) -> None:
    """Replace a principal's password hash."""
    session.execute(update(principals).where(principals.c.id == principal_id).values(password_hash=password_hash))


def set_owner(session: Session, principal_id: int, owner_id: int) -> None:
    """Say which person answers for a service account."""
    session.execute(update(principals).where(principals.c.id == principal_id).values(owner_id=owner_id))


@dataclass(frozen=True)
class Kin:
    """An account of the human who is behind another one."""

    #: The other one.
    of: str
    #: The owner of the other one, if that is a service account.
    owner: str | None
    name: str


def kin_of(session: Session, names: Iterable[str]) -> list[Kin]:
    """Return the accounts of the people behind some accounts: other accounts of the same person, their owners'."""
    return [Kin(row.name, row.owner, row.kin) for row in session.execute(_KIN, {"names": list(names)})]


def set_person(session: Session, principal_id: int, first_id: int | None) -> None:
    """Say beside which account this one and its own second accounts are the same person's; None: of their own."""
    session.execute(update(principals).where(principals.c.id == principal_id).values(person_id=first_id))
    if first_id is not None:
        session.execute(update(principals).where(principals.c.person_id == principal_id).values(person_id=first_id))


def set_active(session: Session, principal_id: int, active: bool) -> None:
    """Activate or deactivate a principal."""
    session.execute(update(principals).where(principals.c.id == principal_id).values(active=active))


def set_groups(session: Session, principal_id: int, groups: Iterable[str]) -> None:
    """Make these a principal's groups."""
    session.execute(delete(group_members).where(group_members.c.principal_id == principal_id))
    rows = [{"principal_id": principal_id, "group_name": group} for group in sorted(set(groups))]
    if rows:
        session.execute(insert(group_members), rows)


def set_bindings(session: Session, principal_id: int, bindings: Iterable[RoleBinding]) -> None:
    """Make these a principal's role bindings."""
    session.execute(delete(role_bindings).where(role_bindings.c.principal_id == principal_id))
    rows = [
        {"principal_id": principal_id, "role": binding.role, "pattern": binding.pattern}
        for binding in dict.fromkeys(bindings)
    ]
    if rows:
        session.execute(insert(role_bindings), rows)


def active_admins(session: Session) -> int:
    """Count the active principals with the role admin over everything."""
    statement = (
        select(func.count())
        .select_from(role_bindings.join(principals))
        .where(role_bindings.c.role == Role.ADMIN, role_bindings.c.pattern == EVERY_MODEL, principals.c.active)
    )
    return int(session.execute(statement).scalar_one())


def admins_have_entered(session: Session) -> bool:
    """Say whether an active admin has ever had a token or session to get in with."""
    statement = (
        select(tokens.c.id)
        .select_from(tokens.join(principals).join(role_bindings, role_bindings.c.principal_id == principals.c.id))
        .where(role_bindings.c.role == Role.ADMIN, principals.c.active, tokens.c.use != "sign-in")
    )
    return session.execute(statement.limit(1)).first() is not None


def add_token(
    session: Session,
    principal_id: int,
    digest: str,
    use: str,
    now: datetime,
    expires_at: datetime | None,
    parent: str | None = None,
    caveats: Caveats = (),
) -> int:
    """Store a token's digest; return the token's id. `parent` is the digest of the token that it ends with."""
    statement = insert(tokens).values(
        principal_id=principal_id,
        digest=digest,
        use=use,
        created_at=to_ms(now),
        expires_at=to_ms(expires_at) if expires_at else None,
        parent=parent,
        caveats=to_json(caveats),
    )
    return int(session.execute(statement.returning(tokens.c.id)).scalar_one())


def token_exists(session: Session, digest: str) -> bool:
    """Say whether a token with this digest was ever stored."""
    return session.execute(select(tokens.c.id).where(tokens.c.digest == digest)).first() is not None


def valid_tokens(session: Session, now: datetime, principal: str | None = None) -> list[Token]:
    """Return the API tokens that are valid, newest first; of one principal or of all."""
    statement = (
        select(tokens, principals.c.name)
        .join(principals)
        .where(
            tokens.c.use == "api",
            tokens.c.revoked_at.is_(None),
            or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > to_ms(now)),
        )
        .order_by(tokens.c.id.desc())
    )
    if principal is not None:
        statement = statement.where(principals.c.name == principal)
    return [
        Token(
            row.id,
            row.name,
            from_ms(row.created_at),
            from_ms(row.expires_at) if row.expires_at is not None else None,
            from_ms(row.last_used_at) if row.last_used_at is not None else None,
            from_json(row.caveats),
        )
        for row in session.execute(statement)
    ]


def token_owner(session: Session, token_id: int) -> Principal | None:
    """Return whose token this is, if it has not been revoked."""
    owner = session.execute(
        select(tokens.c.principal_id).where(tokens.c.id == token_id, tokens.c.revoked_at.is_(None))
    ).scalar()
    return load(session, [owner]).get(owner) if owner is not None else None


def note_use(session: Session, token_id: int) -> None:
    """Note that a token is used, unless that was noted less than a minute ago."""
    session.execute(_NOTE_USE, {"used": token_id})


def revoke_token(session: Session, token_id: int, now: datetime) -> None:
    """Make a token invalid from now on."""
    session.execute(update(tokens).where(tokens.c.id == token_id).values(revoked_at=to_ms(now)))


def revoke_sign_ins(session: Session, principal_id: int, now: datetime) -> None:
    """Make all one-time sign-in tokens of a principal invalid: one was used."""
    session.execute(
        update(tokens)
        .where(tokens.c.principal_id == principal_id, tokens.c.use == "sign-in", tokens.c.revoked_at.is_(None))
        .values(revoked_at=to_ms(now))
    )
