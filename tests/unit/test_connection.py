"""What the command calls a server with, and what it does and says when no answer comes."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx
import pytest

from lockgate.client import connection
from lockgate.client.connection import Connection, Unreachable
from lockgate.errors import BadInput
from tests.house import free_port


@pytest.mark.parametrize("token", ["one two", "one\ntwo", "one\ttwo"])
def test_a_token_of_several_words_is_refused_and_not_told(token: str) -> None:
    with pytest.raises(BadInput, match="one token and nothing else") as refused:
        Connection("http://localhost", {"MLFLOW_TRACKING_TOKEN": token})
    assert "two" not in refused.value.message


def test_blanks_around_a_token_do_no_harm() -> None:
    Connection("http://localhost", {"MLFLOW_TRACKING_TOKEN": " one\n"})


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
AWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class Listener:
    """Takes calls, and answers each with what is next; with nothing it hangs up, with None it is silent."""

    answers: list[bytes | None]
    keys: list[str] = field(default_factory=list)
    door: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    silent: list[socket.socket] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.door.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                caller, _ = self.door.accept()
            except OSError:
                return
            self.keys += re.findall(r"(?i)idempotency-key: (\S+)", caller.recv(65536).decode())
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is None:
                self.silent.append(caller)
                continue
            caller.sendall(answer)
            caller.close()

    def close(self) -> None:
        self.door.shutdown(socket.SHUT_RDWR)
        for one in (self.door, *self.silent):
            one.close()


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Listener]]:
    monkeypatch.setattr(connection, "_PATIENCE", 1.0)
    monkeypatch.setattr(connection, "_PATIENCE_AT_A_CLOSED_DOOR", 0.3)
    monkeypatch.setattr(connection, "_TIMEOUT", httpx.Timeout(0.5))
    with ExitStack() as stack:

        def listen(*answers: bytes | None) -> Listener:
            listener = Listener(list(answers))
            stack.callback(listener.close)
            threading.Thread(target=listener.serve, daemon=True).start()
            return listener

        yield listen


def test_an_answer_that_takes_too_long_is_asked_for_again_with_the_same_key(
    listening: Callable[..., Listener],
) -> None:
    listener = listening(None, b"", AWAY, ANSWER)
    assert Connection(listener.uri, {}).call("POST", "/requests/1/promote", {}) == {}
    assert len(listener.keys) == 4
    assert len(set(listener.keys)) == 1


@pytest.mark.parametrize("answer", [None, b"", AWAY])
def test_of_a_change_without_an_answer_it_is_said_that_nobody_knows(
    listening: Callable[..., Listener], answer: bytes | None
) -> None:
    listener = listening(answer)
    with pytest.raises(Unreachable, match="unknown whether the change was made: look before you try again"):
        Connection(listener.uri, {}).call("POST", "/requests/1/promote", {})
    assert len(listener.keys) > 1
    if answer is not AWAY:
        with pytest.raises(Unreachable, match="Is the server up"):
            Connection(listener.uri, {}).call("GET", "/requests/1")


def test_what_reached_nobody_was_not_done(listening: Callable[..., Listener]) -> None:
    with pytest.raises(Unreachable, match="Is the server up"):
        Connection(f"http://127.0.0.1:{free_port()}", {}).call("POST", "/requests/1/promote", {})
