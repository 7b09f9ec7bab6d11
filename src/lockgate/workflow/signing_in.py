"""Signing in and out: sessions of browsers, and passwords with the limit on guessing them."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.access import attempts, session_tokens
from lockgate.access.attempts import Counted, after_failure, blocked_until
from lockgate.access.credentials import NOBODYS_HASH, password_matches, token_digest
from lockgate.access.principals import Kind, Principal
from lockgate.audit.entry import AuditEntry, AuditOutcome
from lockgate.database import people, sign_ins
from lockgate.database.engine import now, take_turn
from lockgate.database.record import record
from lockgate.errors import Unauthenticated
from lockgate.events.event import EventType
from lockgate.registry.transaction import reading, transaction

#: Who is on record where nobody known was calling.
NOBODY = "anonymous"
WRONG_PASSWORD = "The user name or the password is wrong."  # noqa: S105
WRONG_TOKEN = "The token is not valid (any more)."  # noqa: S105


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
    with transaction(engine) as session:
        principal = people.of_token(session, digest, use)
        if principal is not None:
            if use == "sign-in":
                people.revoke_sign_ins(session, principal.id, now(session))
                return _begin(session, principal, "one-time token", address, replaces), principal
            return _begin(session, principal, "token", address, replaces, digest), principal
    _refused(engine, "token", "", [attempts.address(address)], address)
    raise Unauthenticated(WRONG_TOKEN)


def by_password(engine: Engine, name: str, password: str, address: str) -> Principal:
    """Return whose password this is. It costs what it costs whether or not there is such a name.

    Raises:
        Unauthenticated: if there is no such name or it is not its password, or if too much was tried of late; then
            without looking.
    """
    account, place = attempts.account(name), attempts.address(address)
    with reading(engine) as session:
        check = sign_ins.password_check(session, "" if "\0" in name else name, (account, place))
    until = blocked_until((account, place), check.failures, check.at)
    if until is not None:
        raise Unauthenticated(
            "Too many attempts with this name or from this address have failed. Nothing more is tried before "
            f"{until + timedelta(seconds=1):%H:%M:%S} UTC. Try again then, or use a token."
        )
    matches = password_matches(check.password_hash or NOBODYS_HASH, password)
    if check.principal_id is None or not matches:
        _refused(engine, "password", name, [account, place], address)
        raise Unauthenticated(WRONG_PASSWORD)
    if any(failed.key == account.key for failed in check.failures):
        with transaction(engine) as session:
            sign_ins.forget(session, account.key)
    with reading(engine) as session:
        return people.load(session, [check.principal_id])[check.principal_id]


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
    with transaction(engine) as session:
        take_turn(session, "attempts")
        at = now(session)
        sign_ins.forget_before(session, at - attempts.WINDOW)
        before = sign_ins.failures(session, [one.key for one in counted])
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
