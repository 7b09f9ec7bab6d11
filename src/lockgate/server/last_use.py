"""When tokens were last used: noted in the background, so that no call waits for it."""

import logging
import threading
import time
from queue import SimpleQueue

from sqlalchemy import Engine

from lockgate.database import people
from lockgate.errors import LockgateError
from lockgate.registry.transaction import transaction

_EVERY_SECONDS = 60
_REMEMBERED = 10_000

_logger = logging.getLogger("lockgate.server")


class LastUse:
    """Notes uses of tokens, about once a minute for each.

    Args:
        engine: The database where tokens are.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._used: SimpleQueue[int] = SimpleQueue()
        self._noted: dict[int, float] = {}
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def note(self, token_id: int | None) -> None:
        """Have it noted that a token is used now."""
        now = time.monotonic()
        if token_id is None or now - self._noted.get(token_id, -_EVERY_SECONDS) < _EVERY_SECONDS:
            return
        if len(self._noted) >= _REMEMBERED:
            self._noted.clear()
        self._noted[token_id] = now
        self._used.put(token_id)
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="lockgate-last-use", daemon=True)
                self._thread.start()

    def _write(self) -> None:
        while True:
            token_id = self._used.get()
            try:
                with transaction(self._engine) as session:
                    people.note_use(session, token_id)
            except LockgateError as error:
                # The next use after a minute is noted again.
                _logger.warning("The use of a token could not be noted: %s", error.message)
