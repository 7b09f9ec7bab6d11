"""The engine, and the only differences between SQLite and PostgreSQL."""

import functools
import sqlite3
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg
from sqlalchemy import BigInteger, Engine, create_engine, event, make_url, select, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from lockgate.database.writers import check_may_write
from lockgate.errors import BadInput

#: How long a writer waits for a lock, in seconds.
LOCK_TIMEOUT = 20
#: How long a writer may keep its locks without a word to PostgreSQL, in seconds: a process that hangs, or whose machine
#: was lost, would stop all others for as long.
_IDLE_TIMEOUT = 60
_POOL_SIZE = 20
_READS = "lockgate_reads"
_WRITES = "lockgate_writes"
#: Option of a connection that migrates: it writes, whatever writers the database lets in.
MIGRATES = "lockgate_migrates"
_LAST_USED = "lockgate_last_used"
#: After how long without use a connection may have gone, with its server or on the way to it.
_IDLE_SECONDS = 1.0

#: How libpq notices that PostgreSQL's machine is gone without a word, within some ten seconds and not after hours:
#: times in seconds, the last in milliseconds (https://www.postgresql.org/docs/16/libpq-connect.html#LIBPQ-PARAMKEYWORDS).
_NOTICE_LOSS = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
# Whatever the database's default is: after a lock, each statement sees what came of what it waited for.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
# One turn with PostgreSQL, as `BEGIN` alone would be. Who migrates may wait longer, and begins otherwise.
_BEGIN_TO_WRITE = (
    f"{_BEGIN}; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'; "
    f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_TIMEOUT}s'"
)

_engines: dict[str, Engine] = {}
_engines_lock = threading.Lock()


def real_uri(uri: str) -> str:
    """Return a database URI with the driver that we ship.

    Args:
        uri: As a user writes it: `sqlite:///file.db`, `postgresql://user:password@host/name`.

    Raises:
        BadInput: if the database is neither SQLite nor PostgreSQL.
    """
    try:
        url = make_url(uri)
    except ArgumentError:
        raise BadInput(
            "The store URI is no database. Use sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."
        ) from None
    match url.get_backend_name():
        case "sqlite":
            return uri
        case "postgresql":
            return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        case "postgres":
            return real_uri("postgresql" + uri.removeprefix("postgres"))
        case other:
            raise BadInput(f"Lockgate runs on SQLite and PostgreSQL, not on {other}.")


def engine_for(uri: str) -> Engine:
    """Return this process's engine for a database; the same for the same URI."""
    with _engines_lock:
        if uri not in _engines:
            _engines[uri] = _create_engine(uri)
        return _engines[uri]


def _create_engine(uri: str) -> Engine:
    url = make_url(uri)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(uri)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # As with SQLite we begin transactions ourselves, and none to read: see `reading_engine`.
    engine = create_engine(
        uri,
        isolation_level="AUTOCOMMIT",
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_SIZE,
        connect_args={name: value for name, value in _NOTICE_LOSS.items() if name not in url.query},
    )
    event.listen(engine, "begin", _begin_postgresql)
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", _ping_if_idle)
    return engine


def _note_use(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    record.info[_LAST_USED] = time.monotonic()


def _ping_if_idle(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: Any) -> None:
    """See that a connection that has lain idle is still there; the pool makes a new one if not.

    SQLAlchemy's own `pool_pre_ping` asks at every checkout, which a promotion does several times.
    """
    if time.monotonic() - record.info.get(_LAST_USED, time.monotonic()) < _IDLE_SECONDS:
        return
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute("SELECT 1")
    except psycopg.Error:
        raise DisconnectionError from None


def _prepare_sqlite(connection: DBAPIConnection, _record: Any) -> None:
    assert isinstance(connection, sqlite3.Connection)
    # We begin transactions ourselves: the driver would begin them only before the first change, too late for
    # a decision that reads first.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {LOCK_TIMEOUT * 1000}",
        "journal_mode = WAL",
        "foreign_keys = ON",
        "case_sensitive_like = true",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Any) -> None:
    options = connection.get_execution_options()
    writes = options.get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes or options.get(MIGRATES, False) else "BEGIN")
    if writes:
        check_may_write(connection)


def _begin_postgresql(connection: Any) -> None:
    options = connection.get_execution_options()
    if options.get(_READS, False):
        return
    writes = options.get(_WRITES, False)
    connection.exec_driver_sql(_BEGIN_TO_WRITE if writes else _BEGIN)
    if writes:
        check_may_write(connection)


class WritingSession(Session):
    """A session that may change something. What is put on record in one is written before it commits (`record`)."""


def writing_session(engine: Engine) -> Session:
    """Return a session for a transaction that reads, decides and writes.

    On SQLite it takes the database's one write lock as it begins; on PostgreSQL its first statement should
    lock the row that the decision is about.
    """
    return WritingSession(_with_options(engine, **{_WRITES: True}), expire_on_commit=False)


def reading_session(engine: Engine) -> Session:
    """Return a session that only reads."""
    return Session(reading_engine(engine))


def reading_engine(engine: Engine) -> Engine:
    """Return an engine for sessions that only read.

    On PostgreSQL each statement sees what is committed when it begins, in a transaction or not: without one, beginning
    and ending it costs nothing.
    """
    return _with_options(engine, **{_READS: True}) if engine.dialect.name == "postgresql" else engine


@functools.cache
def _with_options(engine: Engine, **options: Any) -> Engine:
    return engine.execution_options(**options)


def take_turn(session: Session, what: str) -> None:
    """Wait until no other transaction has its turn at something that no row stands for; keep it until the end.

    On SQLite whoever writes has it already.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:what, 0))"), {"what": f"lockgate:{what}"})


class ClockMs(FunctionElement[int]):
    """The time in milliseconds, for a statement to tell or to compare with."""

    inherit_cache = True
    type = BigInteger()


@compiles(ClockMs, "postgresql")
def _postgresql_clock(_element: ClockMs, _compiler: SQLCompiler, **_options: Any) -> str:
    return "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)"


@compiles(ClockMs, "sqlite")
def _sqlite_clock(_element: ClockMs, _compiler: SQLCompiler, **_options: Any) -> str:
    # Days since noon in Greenwich on 1 January 4713 BC (https://sqlite.org/lang_datefunc.html).
    return "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"


# Composed once: that takes longer than asking.
_NOW = select(ClockMs())


def now(session: Session) -> datetime:
    """Return the time as the database's clock tells it: all instances share that one."""
    return from_ms(session.execute(_NOW).scalar_one())


def to_ms(at: datetime) -> int:
    """Return a time as the tables hold it, in milliseconds."""
    return int(at.timestamp() * 1000)


def from_ms(ms: int) -> datetime:
    """Return a time as the code holds it, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)
