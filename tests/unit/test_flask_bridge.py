"""What a WSGI application answers comes through whole: a short answer at once, a long one as it is taken."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import anyio
import flask
import httpx
import pytest
from starlette.types import Message, Scope

from lockgate.access.principals import LOCKGATE, calling, current_caller
from lockgate.server.flask_bridge import SHORT, FlaskBridge

app = flask.Flask(__name__)


@app.post("/echo")
def echo() -> flask.Response:
    answer = flask.Response(flask.request.get_data(), status=201)
    answer.headers.add("Set-Cookie", "a=1")
    answer.headers.add("Set-Cookie", "b=2")
    answer.headers["X-Asked"] = f"{flask.request.path}?{flask.request.query_string.decode()}"
    return answer


@app.get("/who")
def who() -> str:
    return current_caller().principal.name


def call(method: str, path: str, **options: Any) -> httpx.Response:
    async def called() -> httpx.Response:
        transport = httpx.ASGITransport(FlaskBridge(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **options)

    return anyio.run(called)


SCOPE: Scope = {
    "type": "http",
    "method": "GET",
    "path": "/",
    "root_path": "",
    "query_string": b"",
    "headers": [],
    "http_version": "1.1",
    "scheme": "http",
    "server": ("localhost", 80),
}


async def receive() -> Message:
    return {"type": "http.request"}


def sent_by(application: Callable[..., Iterable[bytes]], seen: Callable[[], None] = lambda: None) -> Iterator[Message]:
    """What a bridge sends of an application's answer; `seen` is called as the client takes each message."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        await anyio.sleep(0.01)  # A client that takes its time.
        sent.append(message)
        seen()

    try:
        anyio.run(FlaskBridge(application), SCOPE, receive, send)
    finally:
        yield from sent


def test_a_call_and_its_answer_come_through() -> None:
    answer = call("POST", "/echo?x=%C3%BC", content=b"body" * 100_000)
    assert (answer.status_code, answer.content) == (201, b"body" * 100_000)
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["x-asked"] == "/echo?x=%C3%BC"


def test_head_has_no_body() -> None:
    answer = call("HEAD", "/who")
    assert answer.content == b""


def test_the_thread_knows_who_is_calling() -> None:
    with calling(LOCKGATE):
        assert call("GET", "/who").text == LOCKGATE.principal.name


def test_a_short_answer_is_sent_at_once() -> None:
    def short(_environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("X-Is", "short")])
        return [b"a", b"", b"b"]

    head, body = sent_by(short)
    assert (head["status"], head["headers"]) == (200, [(b"x-is", b"short")])
    assert (body["body"], body["more_body"]) == (b"ab", False)


def test_a_long_answer_is_not_kept_until_it_is_whole() -> None:
    closed: list[bool] = []
    made: list[int] = []
    made_when_taken: list[int] = []

    def long(_environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            for number in range(5):
                made.append(number)
                yield b"x" * (SHORT + 1)
        finally:
            closed.append(True)

    head, *bodies = sent_by(long, lambda: made_when_taken.append(len(made)))
    assert head["type"] == "http.response.start"
    assert [len(body["body"]) for body in bodies] == [SHORT + 1] * 5 + [0]
    assert [body["more_body"] for body in bodies] == [True] * 5 + [False]
    # No piece is made before the client has taken the one before.
    assert made_when_taken == [1, 1, 2, 3, 4, 5, 5]
    assert closed == [True]


def test_the_head_of_an_error_takes_the_place_of_the_first() -> None:
    def failing(_environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        start_response("500 Internal Server Error", [], (None, None, None))
        return [b"sorry"]

    head, _ = sent_by(failing)
    assert head["status"] == 500


def test_what_fails_is_closed_and_told() -> None:
    closed: list[bool] = []

    def failing(_environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            yield b"x"
            raise RuntimeError("gone")
        finally:
            closed.append(True)

    with pytest.raises(RuntimeError, match="gone"):
        list(sent_by(failing))
    assert closed == [True]


def test_who_reads_slowly_keeps_no_thread() -> None:
    def long(_environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(3):
            yield b"x" * (SHORT + 1)

    async def read_side_by_side() -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = 1
        waits, bridge = anyio.Event(), FlaskBridge(long)

        async def never_takes(_message: Message) -> None:
            waits.set()
            await anyio.sleep_forever()

        async def takes(_message: Message) -> None:
            pass

        async with anyio.create_task_group() as group:
            group.start_soon(bridge, SCOPE, receive, never_takes)
            await waits.wait()
            with anyio.fail_after(5):
                await bridge(SCOPE, receive, takes)
            group.cancel_scope.cancel()

    anyio.run(read_side_by_side)


def test_an_answer_that_nobody_takes_to_its_end_is_closed() -> None:
    closed: list[bool] = []

    def long(_environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            yield b"x" * (SHORT + 1)
            yield b"y"
        finally:
            closed.append(True)

    def gone() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(sent_by(long, gone))
    assert closed == [True]


def test_flask_goes_on_where_it_was_from_piece_to_piece() -> None:
    streaming = flask.Flask("streaming")

    @streaming.get("/")
    def pieces() -> flask.Response:
        def make() -> Iterator[bytes]:
            for _ in range(3):
                yield flask.request.path.encode() * (SHORT + 1)

        return flask.Response(flask.stream_with_context(make()))

    _, *bodies = sent_by(streaming)
    assert b"".join(body["body"] for body in bodies) == b"/" * 3 * (SHORT + 1)


def test_half_a_call_is_none() -> None:
    called: list[bool] = []

    def application(_environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        called.append(True)
        start_response("200 OK", [])
        return []

    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def broken_off() -> Message:
        return next(messages)

    async def send(_message: Message) -> None:
        raise AssertionError("nobody is there")

    anyio.run(FlaskBridge(application), SCOPE, broken_off, send)
    assert called == []
