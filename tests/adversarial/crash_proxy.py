"""A proxy between a server and PostgreSQL that counts the messages of the protocol and strikes at one of them.

Messages: https://www.postgresql.org/docs/16/protocol-message-formats.html
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

#: What begins each message but the first of a connection: a letter, and how long the rest is.
_HEAD = struct.Struct("!cI")


@dataclass(frozen=True)
class Message:
    """A message that went by.

    Attributes:
        to_database: Whether the server sent it, and not PostgreSQL.
        kind: Its letter: `Q` a statement, `S` the end of a request, `Z` that of an answer.
        text: The statement, of a `Q`, and of a `P` or `B`, which prepare and bind one.
        on_record: Whether the transaction that it belongs to has written to the audit log.
        connection: The number of the connection that it went over.
    """

    to_database: bool
    kind: str
    text: str = ""
    on_record: bool = False
    connection: int = 0

    @property
    def ends_turn(self) -> bool:
        """Whether now the other side does something: the server has asked, or PostgreSQL has answered."""
        return self.kind in ("QS" if self.to_database else "Z")


def of_the_change() -> Callable[[Message], bool]:
    """Return what says whether a message goes over the connection on which a model is changed, from its lock on."""
    connection = 0

    def is_of_it(message: Message) -> bool:
        nonlocal connection
        if not connection and "registered_models" in message.text and "FOR UPDATE" in message.text:
            connection = message.connection
        return message.connection == connection

    return is_of_it


@dataclass(frozen=True)
class Strike:
    """When to strike: before or after the message of a number is passed on.

    Attributes:
        at: The number, from 0.
        after: Whether the message is passed on first.
        how: What is done.
        which: Says which messages count.
    """

    at: int
    after: bool
    how: Callable[[], None]
    which: Callable[[Message], bool] = lambda _message: True


@dataclass
class CrashProxy:
    """Passes everything on between a port of loopback and PostgreSQL's socket.

    Args:
        uri: A database, as the tests' PostgreSQL says it, with the folder of its socket.
    """

    uri: str
    seen: list[Message] = field(default_factory=list)
    struck: threading.Event = field(default_factory=threading.Event)
    _strike: Strike | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)
    _pairs: list[tuple[socket.socket, socket.socket]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._begin(self._listen)

    @property
    def through(self) -> str:
        """The database, through the proxy."""
        port, name = self._listener.getsockname()[1], urlsplit(self.uri).path.strip("/")
        return f"postgresql://postgres:@127.0.0.1:{port}/{name}?sslmode=disable&gssencmode=disable"

    @contextmanager
    def watching(self, strike: Strike | None = None) -> Iterator[list[Message]]:
        """Count messages during the block, and strike once at the one that is wanted."""
        with self._turn:
            self.seen, self._strike = [], strike
            self.struck.clear()
        try:
            yield self.seen
        finally:
            with self._turn:
                self._strike = None

    def cut(self) -> None:
        """Cut all connections, without a word to either side."""
        for pair in self._pairs:
            _hang_up(pair)

    def close(self) -> None:
        """Take no further connections, and cut those that there are."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)
        for pair in self._pairs:
            for end in pair:
                end.close()

    def _begin(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        path = f"{parse_qs(urlsplit(self.uri).query)['host'][0]}/.s.PGSQL.5432"
        while True:
            try:
                server, _ = self._listener.accept()
            except OSError:
                return
            database = socket.socket(socket.AF_UNIX)
            try:
                database.connect(path)
            except OSError:  # PostgreSQL is down
                database.close()
                server.close()
                continue
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((server, database))
            number = len(self._pairs)
            self._begin(self._pass_on, server, database, number, True)
            self._begin(self._pass_on, database, server, number, False)

    def _pass_on(self, source: socket.socket, sink: socket.socket, number: int, to_database: bool) -> None:
        reader = _Reader(number)
        try:
            if to_database:
                length = _exactly(source, 4)
                sink.sendall(length + _exactly(source, int.from_bytes(length) - 4))
            while True:
                head = _exactly(source, _HEAD.size)
                kind, length = _HEAD.unpack(head)
                body = _exactly(source, length - 4)
                letter = kind.decode("latin-1")
                message = reader.read(letter, body) if to_database else Message(False, letter, connection=number)
                if not self._let_by(message, sink, head + body):
                    return
        except OSError:
            pass
        finally:
            _hang_up((source, sink))

    def _let_by(self, message: Message, sink: socket.socket, raw: bytes) -> bool:
        """Pass a message on; say whether the connection goes on."""
        with self._turn:
            strike = self._strike
            if strike is not None and not strike.which(message):
                strike = None
            else:
                self.seen.append(message)
            hit = strike is not None and len(self.seen) == strike.at + 1
            if not hit or strike is None:
                sink.sendall(raw)
                return True
            if strike.after:
                sink.sendall(raw)
            self._strike = None
            strike.how()
            self.struck.set()
            return False


@dataclass
class _Reader:
    """Reads what a server sends over one connection."""

    connection: int
    prepared: dict[bytes, str] = field(default_factory=dict)
    on_record: bool = False

    def read(self, kind: str, body: bytes) -> Message:
        text = ""
        match kind:
            case "Q":
                text = body.rstrip(b"\0").decode(errors="replace")
            case "P":
                name, text_of, _ = body.split(b"\0", 2)
                text = self.prepared[name] = text_of.decode(errors="replace")
            case "B":
                text = self.prepared.get(body.split(b"\0", 2)[1], "")
        self.on_record = (self.on_record or "INSERT INTO lockgate_audit" in text) and not text.startswith("BEGIN")
        return Message(True, kind, text, self.on_record, self.connection)


def _hang_up(ends: tuple[socket.socket, socket.socket]) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _exactly(source: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        more = source.recv(size - len(read))
        if not more:
            raise ConnectionResetError
        read += more
    return read
