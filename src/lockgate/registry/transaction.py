"""The ambient transaction: whatever runs inside it, MLflow's methods included, commits together or not at all."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ErrorCode
from mlflow.store.db.utils import _get_routing_session_maker
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, SessionTransaction, sessionmaker

from lockgate.database.engine import reading_engine, reading_session, writing_session
from lockgate.database.record import write_record
from lockgate.errors import Conflict, LockgateError, OutcomeUnknown, RefusedByDatabase
from lockgate.registry.one_call import held_session, hold, waits_for_answer

_logger = logging.getLogger("lockgate.registry")

BUSY = "The database is busy with other changes. Try again in a moment."
LOST = (
    "The connection to the database was lost before this call was finished. What it had not committed by then was "
    "undone. Look before you try again."
)
UNCHANGED = "The connection to the database was lost before anything was changed. Try again in a moment."
UNKNOWN = (
    "The connection to the database was lost while this change was being committed, so it is unknown whether it was "
    "made. Look before you try again; a call that had an Idempotency-Key tells when it is repeated with the same one."
)
REFUSED_VALUE = (
    "The database can't take one of the values: it is too long or too large, or holds characters that can't be stored."
)

SessionMaker = Callable[..., AbstractContextManager[Session]]

_ambient: ContextVar[Session | None] = ContextVar("lockgate_ambient_session", default=None)


def ambient_session(engine: Engine) -> Session | None:
    """Return the session of the transaction that this code runs in, or that its call holds open, if it is on this
    database."""
    session = _ambient.get()
    return session if session is not None and _on(session, engine) else held_session(engine)


def _on(session: Session, engine: Engine) -> bool:
    return session.get_bind().engine.url == engine.url


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """Run the block in one transaction; inside another one on the same database, as part of it.

    It commits at the end. An exception undoes everything, but for a `LockgateError` that keeps its writes: a
    refusal that is put on record. In a call that is made once, what is on record waits for the answer
    (`lockgate.registry.one_call`).

    Raises:
        Conflict: if the database did not let us have our turn, or a constraint says somebody else was first.
        Outdated: if this server is older than the database.
        OutcomeUnknown: if the database was lost while it committed.
    """
    outer = _ambient.get()
    if outer is not None and _on(outer, engine):
        yield outer
        return
    held = held_session(engine)
    with ExitStack() as keeping:
        session = held or keeping.enter_context(writing_session(engine))
        begun = session.begin() if held is None else session.begin_nested()
        try:
            with told_by_us():
                with _ambience(session):
                    yield session
                # MLflow rolls back and tries again in places; what we locked and wrote before would be gone unseen.
                if not begun.is_active:
                    raise Conflict("Somebody else changed this model at the same moment. Try again.")
                _keep(session, begun, keeping)
        except LockgateError as error:
            if error.keeps_writes and begun.is_active:
                with told_by_us():
                    _keep(session, begun, keeping)
            raise
        finally:
            # Also after a failed flush, when it isn't active any more: else the held transaction could not go on.
            if held is not None and _is_open(session, begun):
                begun.rollback()


def _is_open(session: Session, begun: SessionTransaction) -> bool:
    """Say whether a savepoint is neither kept nor undone yet."""
    within = session.get_nested_transaction()
    while within is not None and within is not begun:
        within = within.parent
    return within is begun


@contextmanager
def _ambience(session: Session) -> Iterator[None]:
    token = _ambient.set(session)
    try:
        yield
    finally:
        _ambient.reset(token)


def _keep(session: Session, begun: SessionTransaction, keeping: ExitStack) -> None:
    """Commit what a block has written, or hold it until the call is answered."""
    if begun.nested:
        begun.commit()
    elif waits_for_answer(session):
        hold(session, keeping.pop_all())
    else:
        commit(session)


def commit(session: Session) -> None:
    """Commit a transaction.

    Raises:
        OutcomeUnknown: if the database was lost meanwhile.
    """
    session.flush()
    write_record(session)
    try:
        session.commit()
    except OperationalError as error:
        if not error.connection_invalidated:
            raise
        _logger.warning("The database was lost during a commit: %s", type(error.orig).__name__)
        raise OutcomeUnknown(UNKNOWN, outcome="unknown") from error


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
    with reading_session(engine) as session, told_by_us():
        yield session


@contextmanager
def asking(engine: Engine) -> Iterator[Connection]:
    """Run the block with a connection, outside of any transaction: for one statement, which costs less than a session.

    Raises:
        LockgateError: in place of the database's own errors, which show statements.
    """
    with told_by_us(), reading_engine(engine).connect() as connection:
        yield connection


@contextmanager
def told_by_us() -> Iterator[None]:
    """Say in a sentence what the database refused: to the caller never the statement or its values.

    Raises:
        LockgateError: in place of the database's own errors.
    """
    try:
        yield
    except OperationalError as error:
        _logger.warning("The database was busy or gone: %s", type(error.orig).__name__)
        raise Conflict(_passing(error)) from error
    except IntegrityError as error:
        raise Conflict("Somebody else changed the same thing at the same moment. Look again.") from error
    except (DataError, OverflowError, UnicodeError) as error:
        raise RefusedByDatabase(REFUSED_VALUE) from error
    except SQLAlchemyError as error:
        # Our own fault, so the log has all of it.
        _logger.exception("A statement failed", exc_info=error)
        raise LockgateError("Something went wrong inside Lockgate. The server's log says what.") from error


def _passing(error: OperationalError) -> str:
    return LOST if error.connection_invalidated else BUSY


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
        cause = error.__cause__
        told = _passing(cause) if isinstance(cause, OperationalError) else REFUSED_VALUE
        raise MlflowException(told, ErrorCode.Value(error.error_code)) from cause
