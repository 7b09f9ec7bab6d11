"""How long what was delivered is remembered."""

import os
import time
from collections.abc import Mapping
from datetime import timedelta

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Engine

from lockgate.database import deliveries
from lockgate.database.engine import now
from lockgate.errors import BadInput
from lockgate.gates.policy import Duration
from lockgate.registry.transaction import reading, transaction

RETENTION = "LOCKGATE_WEBHOOK_RETENTION"
STANDARD = timedelta(days=30)
_FOR_EVER = ("0", "forever")
#: How many deliveries are forgotten in one transaction, and how often it is looked for some.
_BATCH = 200
_EVERY = timedelta(minutes=1)

_duration: TypeAdapter[timedelta] = TypeAdapter(Duration)


def read_retention(environment: Mapping[str, str] = os.environ) -> timedelta | None:
    """Return how long the environment has deliveries remembered; None is for ever.

    Raises:
        BadInput: if what it has is no duration.
    """
    text = environment.get(RETENTION, "").strip()
    if not text:
        return STANDARD
    if text in _FOR_EVER:
        return None
    try:
        return _duration.validate_python(text)
    except ValidationError:
        raise BadInput(
            f"{RETENTION} is '{text}'. It is how long what was delivered is remembered: a number and a unit, such as "
            "`30d` or `12h`; `forever` to keep it."
        ) from None


class Retention:
    """Forgets deliveries that were made, or given up, long ago. What waits is never forgotten.

    Args:
        engine: The registry's database.
        remembered: How long they are remembered; None is for ever.
    """

    def __init__(self, engine: Engine, remembered: timedelta | None) -> None:
        self._engine = engine
        self._remembered = remembered
        self._next = 0.0

    def forget_some(self) -> bool:
        """Forget a few, now and then; say whether there may be more."""
        if self._remembered is None or time.monotonic() < self._next:
            return False
        # Read first: to begin writing means, on SQLite, to keep everybody else from it.
        with reading(self._engine) as session:
            before = now(session) - self._remembered
            is_any = deliveries.is_any_finished(session, before)
        if is_any:
            with transaction(self._engine) as session:
                if deliveries.forget_finished(session, before, _BATCH) == _BATCH:
                    return True
        self._next = time.monotonic() + min(_EVERY, self._remembered).total_seconds()
        return False
