"""The ambient transaction: whatever runs inside it, MLflow's methods included, commits together or not at all."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ErrorCode
from mlflow.store.db.utils import _get_routing_session_maker
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from lockgate.database.engine import reading_engine, reading_session, writing_session
from lockgate.errors import Conflict, LockgateError, RefusedByDatabase

_logger = logging.getLogger("lockgate.registry")

BUSY = "The database is busy with other changes. Try again in a moment."
REFUSED_VALUE = (
    "The database can't take one of the values: it is too long or too large, or holds characters that can't be stored."
)

SessionMaker = Callable[..., AbstractContextManager[Session]]

_ambient: ContextVar[Session | None] = ContextVar("lockgate_ambient_session", default=None)


def ambient_session(engine: Engine) -> Session | None:
    """Return the session of the transaction that this code runs in, if it is on this database."""
    session = _ambient.get()
    return session if session is not None and _on(session, engine) else None


def _on(session: Session, engine: Engine) -> bool:
    return session.get_bind().engine.url == engine.url


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """Run the block in one transaction; inside another one on the same database, as part of it.

    It commits at the end. An exception undoes everything, but for a `LockgateError` that keeps its writes: a
    refusal that is put on record.

    Raises:
        Conflict: if the database did not let us have our turn, or a constraint says somebody else was first.
    """
    joined = ambient_session(engine)
    if joined is not None:
        yield joined
        return
    with writing_session(engine) as session:
        begun = session.begin()
        token = _ambient.set(session)
        try:
            with _told_by_us():
                yield session
                # MLflow rolls back and tries again in places; what we locked and wrote before would be gone unseen.
                if session.get_transaction() is not begun:
                    raise Conflict("Somebody else changed this model at the same moment. Try again.")
                session.commit()
        except LockgateError as error:
            if error.keeps_writes and session.get_transaction() is begun:
                with _told_by_us():
                    session.commit()
            raise
        finally:
            _ambient.reset(token)


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """Run the block in a session that only reads; inside a transaction on the same database, as part of it.

    Raises:
        LockgateError: in place of the database's own errors, which show statements.
    """
    joined = ambient_session(engine)
    if joined is not None:
        yield joined
        return
    with reading_session(engine) as session, _told_by_us():
        yield session


@contextmanager
def asking(engine: Engine) -> Iterator[Connection]:
    """Run the block with a connection, outside of any transaction: for one statement, which costs less than a session.

    Raises:
        LockgateError: in place of the database's own errors, which show statements.
    """
    with _told_by_us(), reading_engine(engine).connect() as connection:
        yield connection


@contextmanager
def _told_by_us() -> Iterator[None]:
    """Say in a sentence what the database refused: to the caller never the statement or its values."""
    try:
        yield
    except OperationalError as error:
        _logger.warning("The database was busy or gone: %s", type(error.orig).__name__)
        raise Conflict(BUSY) from error
    except IntegrityError as error:
        raise Conflict("Somebody else changed the same thing at the same moment. Look again.") from error
    except (DataError, OverflowError, UnicodeError) as error:
        raise RefusedByDatabase(REFUSED_VALUE) from error
    except SQLAlchemyError as error:
        # Our own fault, so the log has all of it.
        _logger.exception("A statement failed", exc_info=error)
        raise LockgateError("Something went wrong inside Lockgate. The server's log says what.") from error


def reading_apart(engine: Engine, make: SessionMaker, read_engine: Engine | None) -> SessionMaker:
    """Return a store's `ManagedSessionMaker` whose sessions that only read begin no transaction where none is needed.

    Args:
        engine: The store's engine.
        make: MLflow's own maker.
        read_engine: A replica that MLflow reads from, if it has one: then its own maker stays.
    """
    bound = reading_engine(engine)
    if read_engine is not None or bound is engine:
        return make
    own: SessionMaker = _get_routing_session_maker(
        sessionmaker(bind=engine), sessionmaker(bind=bound), engine.dialect.name
    )
    return own


def joining(engine: Engine, apart: SessionMaker, before_writing_apart: Callable[[], None]) -> SessionMaker:
    """Return a replacement for a store's `ManagedSessionMaker` that joins the ambient transaction.

    Args:
        engine: The store's engine.
        apart: MLflow's own maker, for sessions outside any transaction of ours.
        before_writing_apart: Called before such a session is opened to write; raises if that is not allowed.
    """

    @contextmanager
    def make_session(read_only: bool = True) -> Iterator[Session]:
        session = ambient_session(engine)
        # After a failed flush a session is of no use until it is rolled back; MLflow then reads in a new one.
        if session is not None and (session.is_active or not read_only):
            yield session
            # MLflow's own maker commits here, and so shows the database's errors here.
            session.flush()
            return
        if not read_only:
            before_writing_apart()
        with _without_statements(), apart(read_only=read_only) as own:
            yield own

    return make_session


@contextmanager
def told_by_mlflow() -> Iterator[None]:
    """Let our errors reach the client as MLflow's: the same code, status and sentence."""
    try:
        yield
    except LockgateError as error:
        details = {"details": dict(error.details)} if error.details else {}
        raise MlflowException(error.message, ErrorCode.Value(error.code), **details) from error


@contextmanager
def _without_statements() -> Iterator[None]:
    """Let what MLflow says of a database's error through without the statement and values that it quotes."""
    try:
        yield
    except MlflowException as error:
        if not isinstance(error.__cause__, SQLAlchemyError):
            raise
        busy = isinstance(error.__cause__, OperationalError)
        raise MlflowException(BUSY if busy else REFUSED_VALUE, ErrorCode.Value(error.error_code)) from error.__cause__
