"""Signing in and out: sessions of browsers, and passwords with the limit on guessing them."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.access import attempts, session_tokens
from lockgate.access.attempts import Counted, after_failure, blocked_until
from lockgate.access.credentials import (
    is_outdated,
    nobodys_hash,
    password_hash,
    password_matches,
    remembers,
    token_digest,
)
from lockgate.access.principals import Caller, Kind, Principal
from lockgate.access.roles import Permission
from lockgate.audit.entry import AuditEntry, AuditOutcome
from lockgate.database import people, sign_ins
from lockgate.database.engine import now, take_turn
from lockgate.database.record import record
from lockgate.errors import NotFound, TooManyAttempts, Unauthenticated
from lockgate.events.event import EventType
from lockgate.registry.transaction import reading, transaction
from lockgate.workflow.people import check_may_bind

#: Who is on record where nobody known was calling.
NOBODY = "anonymous"
WRONG_PASSWORD = "The user name or the password is wrong."  # noqa: S105
WRONG_TOKEN = "The token is not valid (any more)."  # noqa: S105
_turns = tuple(threading.Lock() for _ in range(256))


def begin(engine: Engine, principal: Principal, how: str, address: str, replaces: str | None = None) -> str:
    """Begin a session for somebody who has shown who they are; return its token.

    Args:
        engine: The registry's database.
        principal: Who it is.
        how: How they have shown it, for the record.
        address: Where they called from.
        replaces: The session that the browser had before, which ends.
    """
    with transaction(engine) as session:
        return _begin(session, principal, how, address, replaces)


def by_token(engine: Engine, token: str, use: str, address: str, replaces: str | None = None) -> tuple[str, Principal]:
    """Begin a session for the owner of a token: `api`, or `sign-in` for one that works once and is used up by this.

    Raises:
        Unauthenticated: if the token is not valid.
    """
    digest = token_digest(token)
    with reading(engine) as session:
        known = people.of_token(session, digest, use) is not None
    principal = None
    if known:
        with transaction(engine) as session:
            # Once more: of two calls with a token that works once, one was first.
            principal = people.of_token(session, digest, use)
            if principal is not None and use == "sign-in":
                people.revoke_sign_ins(session, principal.id, now(session))
                return _begin(session, principal, "one-time token", address, replaces), principal
            if principal is not None:
                return _begin(session, principal, "token", address, replaces, digest), principal
    refused_token(engine, address)
    raise Unauthenticated(WRONG_TOKEN)


def by_password(engine: Engine, name: str, password: str, address: str) -> Principal:
    """Return whose password this is. It costs what it costs whether or not there is such a name.

    Raises:
        TooManyAttempts: if too much was tried of late; without looking.
        Unauthenticated: if there is no such name or it is not its password.
    """
    counted = (attempts.account(name), attempts.address(address))
    check = _looked_up(engine, name, counted)
    owner = check.principal_id
    if owner is None or check.password_hash is None or not remembers(check.password_hash, password):
        # Else calls side by side would all be tried before the first of them is counted.
        with _turn(counted):
            owner = _tried(engine, name, password, address, counted)
    with reading(engine) as session:
        return people.load(session, [owner])[owner]


def _tried(engine: Engine, name: str, password: str, address: str, counted: Sequence[Counted]) -> int:
    check = _looked_up(engine, name, counted)
    matches = password_matches(check.password_hash or nobodys_hash(), password)
    if check.principal_id is None or check.password_hash is None or not matches:
        _refused(engine, "password", name, counted, address)
        raise Unauthenticated(WRONG_PASSWORD)
    # Other processes try too: what is right after they have used up the attempts is not told from what is wrong.
    _looked_up(engine, name, counted)
    if is_outdated(check.password_hash):
        with transaction(engine) as session:
            sign_ins.rehash(session, check.principal_id, check.password_hash, password_hash(password))
    return check.principal_id


def _looked_up(engine: Engine, name: str, counted: Sequence[Counted]) -> sign_ins.PasswordCheck:
    """Return what there is to know before a password is tried.

    Raises:
        TooManyAttempts: if it is not to be tried.
    """
    with reading(engine) as session:
        check = sign_ins.password_check(session, "" if "\0" in name else name, counted)
    until = blocked_until(counted, check.failures, check.at)
    if until is None:
        return check
    raise TooManyAttempts(
        "Too many attempts with this name or from this address have failed. Nothing more is tried before "
        f"{until + timedelta(seconds=1):%H:%M:%S} UTC. Try again then, or use a token.",
        retry_after=int((until - check.at).total_seconds()) + 1,
    )


@contextmanager
def _turn(counted: Sequence[Counted]) -> Iterator[None]:
    """Wait until no other call of this process tries for what is counted, and keep others waiting for as long."""
    with ExitStack() as held:
        # In one order for all, so that no two wait for each other. Who shares one by chance waits a little.
        for which in sorted({int(one.key, 16) % len(_turns) for one in counted}):
            held.enter_context(_turns[which])
        yield


def refused_token(engine: Engine, address: str) -> None:
    """Count a token that is nobody's and put it on record; not what is past the limit, which would write for ever."""
    _refused(engine, "token", "", [attempts.tokens_from(address)], address)


def refused_by_provider(engine: Engine, provider: str, address: str, why: str) -> None:
    """Put on record that a provider's word did not let somebody in."""
    _refused(engine, f"provider {provider}", "", [attempts.address(address)], address, why)


def renew(engine: Engine, token: str) -> str | None:
    """Give a session in use a new token; the one before ends soon. None if another call was first.

    Nobody did anything, so nothing goes on record.
    """
    with transaction(engine) as session:
        at = now(session)
        digest = token_digest(token)
        before = sign_ins.supersede(session, digest, at + session_tokens.GRACE)
        if before is None:
            return None
        renewed = session_tokens.new_session_token(at, after=token)
        sign_ins.add_session(
            session, before.principal_id, token_digest(renewed), at, before.expires_at, before.parent, digest
        )
        return renewed


def sign_out(engine: Engine, token: str, address: str) -> None:
    """End a browser's session."""
    with transaction(engine) as session:
        owner = _end(session, token)
        if owner is not None:
            _on_record(session, EventType.SIGNED_OUT, owner, address)


def sign_out_everywhere(engine: Engine, caller: Caller, name: str) -> None:
    """End all sessions of somebody's browsers: one's own, or another's. Tokens and passwords stay.

    Raises:
        NotFound: if there is no such principal.
        Refused: if it is somebody else whom the caller may not change.
    """
    # A token that is narrowed ends itself, and nothing else of its principal's.
    mine = name == caller.principal.name and not caller.principal.caveats
    if not mine:
        caller.require(Permission.GOVERN)
    with transaction(engine) as session:
        known = people.find(session, name)
        if known is None:
            raise NotFound(f"There is no principal {name[:100]!r}. `lockgate users list` shows who there is.")
        if not mine:
            check_may_bind(caller, known, ())
        at = now(session)
        if sign_ins.end_sessions(session, known.id, at) > 0:
            by, after = caller.principal, {"name": known.name, "how": "everywhere"}
            entry = AuditEntry(EventType.SIGNED_OUT, by.name, by.id or None, caller.address, after=after)
            record(session, entry, at)


def _begin(
    session: Session, principal: Principal, how: str, address: str, replaces: str | None, parent: str | None = None
) -> str:
    at = now(session)
    if replaces:
        _end(session, replaces)
    token = session_tokens.new_session_token(at)
    # A session that an API token began ends with it, and may do no more than it.
    sign_ins.add_session(session, principal.id, token_digest(token), at, at + session_tokens.LIFETIME, parent, parent)
    _on_record(session, EventType.SIGNED_IN, principal, address, how)
    return token


def _end(session: Session, token: str) -> Principal | None:
    at = now(session)
    owner = sign_ins.end_session(session, token_digest(token), at, at + session_tokens.GRACE)
    return people.load(session, [owner])[owner] if owner is not None else None


def _on_record(session: Session, action: EventType, who: Principal, address: str, how: str = "") -> None:
    after = {"how": how} if how else {}
    record(session, AuditEntry(action, who.name, who.id, address, after=after), now(session))


def _refused(engine: Engine, how: str, name: str, counted: Sequence[Counted], address: str, why: str = "") -> None:
    """Count a failure and put it on record; what fails while nothing is tried any more is neither."""
    with reading(engine) as session:
        # Whoever goes on and on keeps nobody else from writing.
        if blocked_until(counted, sign_ins.failures(session, counted).values(), now(session)) is not None:
            return
    with transaction(engine) as session:
        take_turn(session, "attempts")
        at = now(session)
        sign_ins.forget_before(session, at - attempts.WINDOW)
        before = sign_ins.failures(session, counted)
        if blocked_until(counted, before.values(), at) is not None:
            return
        for one in counted:
            sign_ins.count(session, after_failure(before.get(one.key), one.key, at))
        # A name that nobody has may be a password in the wrong field.
        known = people.find(session, name) if name and "\0" not in name else None
        after = {"how": how, **({"name": known.name, "kind": Kind(known.kind)} if known else {})}
        entry = AuditEntry(
            EventType.SIGN_IN_REFUSED, NOBODY, None, address, AuditOutcome.REFUSED, after=after, reason=why
        )
        record(session, entry, at)
