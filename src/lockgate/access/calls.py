"""What is known of one call while it is answered, so that its refusal is put on record, and once."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Call:
    """One call."""

    #: Whether it changes nothing, as its method or its route says.
    only_reads: bool = False
    #: Whether an audit entry tells of its refusal already.
    is_on_record: bool = False


_call: ContextVar[Call | None] = ContextVar("lockgate_call", default=None)


def current_call() -> Call:
    """Return the call that this code runs in; outside of any, one that nobody asks."""
    return _call.get() or Call()


@contextmanager
def in_call(call: Call) -> Iterator[None]:
    """Let the block run in a call."""
    token = _call.set(call)
    try:
        yield
    finally:
        _call.reset(token)
