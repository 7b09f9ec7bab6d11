"""MLflow's Flask application behind ASGI: a call is one turn in the thread pool.

The bridge that MLflow brings along goes back to the event loop for the head of an answer, for each piece of its body
and for its end, and waits in the thread each time: longer than the edge takes for a call. It also keeps what a slow
client has not taken yet, however much that is. Here a short answer is sent when the thread is done. A long one takes a
turn for each piece, when its client has taken the one before: who reads slowly keeps neither memory nor a thread.
"""

from collections.abc import Callable, Generator, Iterable
from contextvars import copy_context
from typing import Any
from wsgiref.types import WSGIApplication, WSGIEnvironment

from anyio import to_thread
from starlette.middleware.wsgi import build_environ
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope, Send

#: Of the body of an answer that is kept until it is whole, in bytes.
SHORT = 256 * 1024


class FlaskBridge:
    """Calls a WSGI application for each HTTP call, in a thread.

    Args:
        app: The application (PEP 3333).
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the call's body, let the application answer, and send the answer."""
        if scope["type"] != "http":
            return  # What is no HTTP, the edge has answered.
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            return  # Half a call is none, and nobody waits for an answer.
        pieces = self._pieces(build_environ(scope, body))
        # One for all turns: what the application sets in a turn, it may have to take back in another.
        context, more = copy_context(), True
        try:
            while more:
                for message in await to_thread.run_sync(context.run, next, pieces):
                    await send(message)
                    more = message.get("more_body", True)
        finally:
            context.run(pieces.close)

    def _pieces(self, environ: WSGIEnvironment) -> Generator[list[Message], None, None]:
        """Call the application; yield what is to be sent in each turn."""
        head, body, size = list[Message](), list[bytes](), 0

        def start(status: str, headers: Iterable[tuple[str, str]], *_error: Any) -> Callable[[bytes], object]:
            # A second head, of an error, replaces one that is not sent yet.
            head[:] = [_head(status, headers)]
            return body.append

        chunks = self._app(environ, start)
        try:
            for chunk in chunks:
                body.append(chunk)
                size += len(chunk)
                if size > SHORT:
                    yield [*head, _body(body, more=True)]
                    head.clear()
                    body.clear()
                    size = 0
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        yield [*head, _body(body, more=False)]


def _head(status: str, headers: Iterable[tuple[str, str]]) -> Message:
    return {
        "type": "http.response.start",
        "status": int(status.split(" ", 1)[0]),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
    }


def _body(chunks: Iterable[bytes], *, more: bool) -> Message:
    return {"type": "http.response.body", "body": b"".join(chunks), "more_body": more}
