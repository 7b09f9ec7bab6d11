"""A call that is made once: what it puts on record commits together with its answer, or not at all.

A transaction of such a call that put something on record is not committed when its block ends but held open: what the
call reads and writes afterwards joins it, and `finish` writes the answer and commits. So whoever repeats the call finds
the answer, or finds that nothing happened.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from mlflow.exceptions import MlflowException
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from lockgate.database.record import ON_RECORD
from lockgate.errors import LockgateError

Commit = Callable[[Session], None]
Work = Callable[[], None]

_logger = logging.getLogger("lockgate.registry")


@dataclass
class OneCall:
    """A call under way that is made once.

    Attributes:
        held: The transaction that waits for the answer; None while nothing is on record.
        keeping: Closes it.
        afterwards: What is to be done when it has been committed.
        is_answered: Whether the answer is written: what is done after that commits by itself.
    """

    held: Session | None = None
    keeping: ExitStack = field(default_factory=ExitStack)
    afterwards: list[Work] = field(default_factory=list)
    is_answered: bool = False

    def finish(self, write: Callable[[Session], None], commit: Commit) -> None:
        """Write the answer into the held transaction and commit it; then do what waits for that.

        Args:
            write: Writes the answer.
            commit: Commits, and tells of the database's errors.
        """
        assert self.held is not None
        session, self.held, self.is_answered = self.held, None, True
        with self.keeping:
            write(session)
            commit(session)
        for work in self.afterwards:
            _do(work)

    def drop(self) -> None:
        """Undo what is held, if anything is."""
        self.held = None
        self.keeping.close()


_call: ContextVar[OneCall | None] = ContextVar("lockgate_one_call", default=None)


@contextmanager
def one_call() -> Iterator[OneCall]:
    """Make the block one call; what it leaves held without finishing it is undone."""
    call = OneCall()
    token = _call.set(call)
    try:
        yield call
    finally:
        _call.reset(token)
        call.drop()


def held_session(engine: Engine) -> Session | None:
    """Return the session of the transaction that the call holds open on a database."""
    call = _call.get()
    held = call.held if call is not None else None
    return held if held is not None and held.get_bind().engine.url == engine.url else None


def waits_for_answer(session: Session) -> bool:
    """Say whether what a transaction has written waits for the answer of the call that it belongs to."""
    call = _call.get()
    return call is not None and not call.is_answered and ON_RECORD in session.info


def hold(session: Session, keeping: ExitStack) -> None:
    """Hold a transaction open until its call is answered."""
    call = _call.get()
    assert call is not None
    assert call.held is None
    call.held, call.keeping = session, keeping


def once_committed(work: Work) -> None:
    """Do something when what the call has written is committed: now, unless it waits for the answer.

    Whatever becomes of it, what was committed is answered as it is.
    """
    call = _call.get()
    if call is None or call.held is None:
        _do(work)
    else:
        call.afterwards.append(work)


def _do(work: Work) -> None:
    try:
        work()
    except (LockgateError, MlflowException, SQLAlchemyError) as error:
        _logger.warning("What was to be done after a commit was not done", exc_info=error)
