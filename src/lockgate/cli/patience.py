"""Going on calling a server that does not answer, because it is being restarted."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from lockgate.cli.progress import Progress
from lockgate.client.connection import Unreachable

R = TypeVar("R")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0


def pauses() -> Iterator[float]:
    """Return how long to wait between calls, in seconds: soon at first, then less and less often."""
    return (min(_FIRST_PAUSE * 1.5**n, _LONGEST_PAUSE) for n in itertools.count())


def until_answered(call: Callable[[], R], until: float, progress: Progress) -> R:
    """Call until somebody answers.

    Args:
        call: The call.
        until: When to give up, by the monotonic clock.
        progress: Is told that nobody answers.

    Raises:
        Unreachable: if nobody has answered by then.
        LockgateError: any answer that is a refusal.
    """
    for pause in pauses():
        try:
            return call()
        except Unreachable as error:
            left = until - time.monotonic()
            if left <= 0:
                raise
            progress.tell(f"{error.message} Trying again.")
            time.sleep(min(pause, left))
    raise AssertionError("pauses have no end")
