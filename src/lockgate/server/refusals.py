"""Seeing that a refused change is on record before its caller hears of it."""

import json
import logging

import anyio
from sqlalchemy import Engine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockgate.access.calls import Call, in_call
from lockgate.access.principals import Caller
from lockgate.errors import LockgateError, Refused
from lockgate.workflow import refusals

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_logger = logging.getLogger("lockgate.server")


class OnRecord:
    """Calls an application for somebody, and puts on record if it refuses what they wanted to change.

    What is only read, as the method or MLflow's route says, leaves no entry; nor does what left one already.

    Args:
        app: The application.
        engine: The registry's database.
    """

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self._app = app
        self._engine = engine

    async def __call__(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call of somebody known."""
        call = Call(only_reads=scope["method"] in _SAFE_METHODS)
        kept: list[Message] = []

        async def send_on(message: Message) -> None:
            begins = message["type"] == "http.response.start"
            if call.only_reads or (begins and message["status"] != Refused.status) or not (begins or kept):
                await send(message)
                return
            kept.append(message)
            if not begins and not message.get("more_body", False):
                if not call.is_on_record:
                    await self._record(caller, scope, kept)
                for one in kept:
                    await send(one)
                kept.clear()

        with in_call(call):
            await self._app(scope, receive, send_on)

    async def refused(self, caller: Caller, scope: Scope, why: str) -> None:
        """Put a refusal on record that was none of the application's."""
        if scope["method"] not in _SAFE_METHODS:
            await self._write(caller, scope, why)

    async def _record(self, caller: Caller, scope: Scope, answer: list[Message]) -> None:
        await self._write(caller, scope, _sentence(b"".join(message.get("body", b"") for message in answer)))

    async def _write(self, caller: Caller, scope: Scope, why: str) -> None:
        call = f"{scope['method']} {scope['path']}"
        try:
            await anyio.to_thread.run_sync(refusals.on_record, self._engine, caller, call, why)
        except LockgateError as error:  # It is refused all the same.
            _logger.warning("A refusal could not be put on record: %s", error.message)


def _sentence(body: bytes) -> str:
    """Return what an answer of ours or MLflow's says; nothing of a page."""
    try:
        told = json.loads(body)
    except ValueError:
        return ""
    return str(told.get("message", "")) if isinstance(told, dict) else ""
