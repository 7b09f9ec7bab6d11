"""Changes that are made once, however often they are asked for: the `Idempotency-Key` of a call.

As the IETF's draft-ietf-httpapi-idempotency-key-header says: a client that does not know whether its call arrived
repeats it with the same key, and gets the same answer. The answer is written in the transaction of the change itself
(`lockgate.registry.one_call`). A refusal that changed nothing and left nothing on record is not kept: there the call is
made anew.
"""

import functools
import hashlib
import json
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from mlflow.server.workspace_helpers import WORKSPACE_HEADER_NAME
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lockgate.access.principals import current_caller
from lockgate.database import calls
from lockgate.database.calls import AnsweredCall
from lockgate.database.engine import writing_session
from lockgate.errors import BadInput, Conflict, KeyReused, LockgateError, OutcomeUnknown
from lockgate.registry.one_call import OneCall, one_call
from lockgate.registry.transaction import UNCHANGED, commit, reading, told_by_us
from lockgate.server import failures
from lockgate.server.sealed_answers import digest_of, opened, sealed
from lockgate.workflow.stores import stores

KEY = "Idempotency-Key"
#: Says that an answer is one that was given before.
REPLAYED = "Idempotency-Replayed"
_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
#: Long enough not to be guessed or chosen twice: a UUID has 36 characters. The draft puts it in quotation marks.
_KEY = re.compile(r'("?)([!#-~]{16,200})\1')
#: How long to look for what became of a commit when the database has gone, in seconds.
_PATIENCE = 8.0
_PAUSE = 0.2

_Key = Annotated[
    str | None,
    Header(
        alias=KEY,
        description="Chosen anew for each change, such as a UUID. The same call with the same key, within 24 hours, is "
        "made once and answered the same.",
    ),
]


@dataclass(frozen=True)
class Keyed:
    """A call with a key.

    Attributes:
        secret: The key.
        key: What stands for the principal and the key in the database.
        call: What stands there for the call.
    """

    secret: str
    key: str
    call: str

    def answered(self, status: int, body: bytes) -> AnsweredCall:
        """Return the call with its answer, to be kept."""
        return AnsweredCall(self.key, self.call, status, sealed(self.secret, body))


_asked: ContextVar[Keyed | None] = ContextVar("lockgate_keyed_call", default=None)


class OnceRoute(APIRoute):
    """A route whose changes take an `Idempotency-Key`.

    A dependency reads the key, because only FastAPI can read header and body for it and describe the header; it hands
    it on in a context variable, because the endpoint, which has no parameter for it, runs in a thread with a copy of
    the dependency's context. There its transactions begin, so the call has to be wrapped there.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if _CHANGES & set(options.get("methods") or ()):
            status = options.get("status_code") or 200
            if not hasattr(endpoint, "lockgate_once"):  # a router that is included makes its routes anew
                endpoint = _once(endpoint, status)
                options["dependencies"] = [*(options.get("dependencies") or ()), Depends(_read)]
        super().__init__(path, endpoint, **options)


class OnceRouter(APIRouter):
    """A router for what callers change: all those of our API, and of Databricks' dialect of it, are of this kind."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=OnceRoute, **options)


async def _read(request: Request, idempotency_key: _Key = None) -> None:
    """Note the key of a call and what it calls.

    Raises:
        BadInput: if the key is none.
    """
    _asked.set(None)
    if idempotency_key is None:
        return
    if len(request.headers.getlist(KEY)) > 1:
        raise BadInput(f"{KEY}: more than one was sent, so nothing was changed. Send one.")
    url, workspace = request.url, request.headers.get(WORKSPACE_HEADER_NAME)
    _asked.set(keyed(idempotency_key, request.method, url.path, url.query, workspace, body=await request.body()))


def keyed(key: str, *called: str | None, body: bytes) -> Keyed:
    """Return a call of the present caller's that has a key.

    Args:
        key: The key, as the header has it.
        *called: What is called: the same call has the same.
        body: The body that was sent.

    Raises:
        BadInput: if the key is none.
    """
    found = _KEY.fullmatch(key.strip())
    if found is None:
        raise BadInput(f"{KEY}: 16 to 200 printable characters without spaces, new for each change, such as a UUID.")
    principal = current_caller().principal
    # Who has come with less than all that they may do is not given what they were answered when they had more.
    caveats = [str(caveat) for caveat in principal.caveats]
    call = json.dumps([*called, caveats, hashlib.sha256(body).hexdigest()])
    return Keyed(found[2], digest_of(principal.id, found[2]), hashlib.sha256(call.encode()).hexdigest())


def _once(endpoint: Callable[..., Any], status: int) -> Callable[..., Any]:
    @functools.wraps(endpoint)
    def made_once(**given: Any) -> Any:
        asked = _asked.get()
        if asked is None:
            return endpoint(**given)

        def make() -> Response:
            made = endpoint(**given)
            told = next((one.status_code for one in given.values() if isinstance(one, Response)), None) or status
            return Response(status_code=told) if told == 204 else JSONResponse(jsonable_encoder(made), told)

        return answered_once(stores().registry.engine, asked, make)

    made_once.lockgate_once = True  # type: ignore[attr-defined]
    return made_once


def answered_once(engine: Engine, keyed: Keyed, make: Callable[[], Response]) -> Response:
    """Return the answer to a call, making it only if it has not been answered.

    Args:
        engine: The registry's database.
        keyed: The call and its key.
        make: Makes it. An error that it answers with is kept if it left something on record.

    Raises:
        KeyReused: if another call had the key.
        OutcomeUnknown: if the database was lost and does not come back to say what it has done.
    """
    before = _given_before(engine, keyed)
    if before is not None:
        return before
    with one_call() as under_way:
        try:
            answer = make()
        except LockgateError as error:
            if under_way.held is not None and not error.keeps_writes:
                raise
            answer = failures.answer(error)
        if answer.status_code >= 400 and under_way.held is None:
            # Refused, perhaps because the same call was made at the same time, and was first.
            return _given_before(engine, keyed) or answer
        return _kept(engine, under_way, keyed, answer)


def _kept(engine: Engine, under_way: OneCall, keyed: Keyed, answer: Response) -> Response:
    """Keep an answer with what it tells of; return it, or the one that the same call got that was first."""
    answered = keyed.answered(answer.status_code, bytes(answer.body))
    try:
        with told_by_us():
            if under_way.held is not None:
                under_way.finish(lambda session: _add(session, answered), commit)
            else:
                with writing_session(engine) as session:
                    _add(session, answered)
                    commit(session)
    except _AnsweredAlready:
        return _first_given(engine, keyed)
    except OutcomeUnknown as unknown:
        return _settled(engine, keyed, unknown)
    return answer


class _AnsweredAlready(Exception):
    """The same key has been answered since we looked."""


def _add(session: Session, answered: AnsweredCall) -> None:
    try:
        calls.add(session, answered)
    except IntegrityError:
        raise _AnsweredAlready from None


def _first_given(engine: Engine, keyed: Keyed) -> Response:
    before = _given_before(engine, keyed)
    if before is None:
        raise Conflict("The same call was made at the same moment. Repeat it with the same Idempotency-Key.")
    return before


def _given_before(engine: Engine, keyed: Keyed) -> Response | None:
    """Return the answer that the call was given before.

    Raises:
        KeyReused: if the key was another call's.
    """
    with reading(engine) as session:
        found = calls.find(session, keyed.key)
    if found is None:
        return None
    if found.call != keyed.call:
        raise KeyReused(
            "This Idempotency-Key was used for another call within the last 24 hours, and nothing was changed now. "
            "Take a new key for each change; the same one only to repeat the very same call."
        )
    body = opened(keyed.secret, found.answer)
    return Response(body, found.status, {REPLAYED: "true"}, "application/json" if body else None)


def _settled(engine: Engine, keyed: Keyed, unknown: OutcomeUnknown) -> Response:
    """Find out what became of a commit during which the database was lost.

    To add the same key once more waits for a transaction that still has it in hand. If that works, there is none and
    never will be.

    Raises:
        Conflict: if nothing was changed.
        OutcomeUnknown: if the database does not say in time.
    """
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        time.sleep(_PAUSE)
        try:
            with told_by_us(), writing_session(engine) as session:
                _add(session, keyed.answered(0, b""))
                session.rollback()
        except _AnsweredAlready:
            return _first_given(engine, keyed)
        except LockgateError:
            continue
        raise Conflict(UNCHANGED) from unknown
    raise unknown
