"""MLflow's Flask application behind ASGI: a call is one turn in the thread pool.

The bridge that MLflow brings along goes back to the event loop for the head of an answer, for each piece of its body
and for its end, and waits in the thread each time: longer than the edge takes for a call. It also keeps what a slow
client has not taken yet, however much that is. Here a short answer is sent when the thread is done, and a long one as
fast as its client takes it.
"""

from collections.abc import Iterable, Iterator
from typing import Any, cast

from anyio import from_thread, to_thread
from starlette.middleware.wsgi import build_environ
from starlette.types import Message, Receive, Scope, Send

#: Of the body of an answer that is kept until it is whole, in bytes.
SHORT = 256 * 1024

WSGIApplication = Any


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
        environ = build_environ(scope, await _whole(receive))
        for message in await to_thread.run_sync(self._answer, environ, send):
            await send(message)

    def _answer(self, environ: dict[str, Any], send: Send) -> list[Message]:
        """Return what is to be sent. Of a long answer all but the end is sent already."""
        answer = _Answer()
        chunks = cast("Iterable[bytes]", self._app(environ, answer.start))
        try:
            for chunk in chunks:
                answer.add(chunk)
                if answer.is_long:
                    for message in answer.taken(more=True):
                        from_thread.run(_send, send, message)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        return list(answer.taken(more=False))


async def _send(send: Send, message: Message) -> None:
    await send(message)


class _Answer:
    """What the application has said so far and nobody has sent yet."""

    def __init__(self) -> None:
        self._head: Message | None = None
        self._body: list[bytes] = []
        self._size = 0

    def start(self, status: str, headers: Iterable[tuple[str, str]], _exc_info: Any = None) -> None:
        """Take the head of the answer (PEP 3333's `start_response`); a second one, of an error, replaces it."""
        self._head = {
            "type": "http.response.start",
            "status": int(status.split(" ", 1)[0]),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        }

    def add(self, chunk: bytes) -> None:
        """Take a piece of the body."""
        self._body.append(chunk)
        self._size += len(chunk)

    @property
    def is_long(self) -> bool:
        """Whether it is time to send something."""
        return self._size > SHORT

    def taken(self, *, more: bool) -> Iterator[Message]:
        """Give away what there is.

        Args:
            more: Whether the answer goes on after that.
        """
        if self._head is not None:
            yield self._head
            self._head = None
        body, self._body, self._size = b"".join(self._body), [], 0
        yield {"type": "http.response.body", "body": body, "more_body": more}


async def _whole(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)
