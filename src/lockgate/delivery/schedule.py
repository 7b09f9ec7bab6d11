"""When a delivery is tried again, and when it is given up. Pure."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from lockgate.delivery.answer import Answer
from lockgate.delivery.retry_after import MOST_SECONDS
from lockgate.errors import BadInput

#: How long to wait after each attempt, in seconds: after that, three days and three hours have passed
#: (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
STANDARD = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
RETRIES = "LOCKGATE_WEBHOOK_RETRIES"
_LONGEST_WAIT_SECONDS = 7 * 24 * 3600.0
_GONE = 410


class Next(StrEnum):
    """What follows an attempt."""

    DELIVERED = "delivered"
    AGAIN = "again"
    #: As often as the schedule has it.
    EXHAUSTED = "exhausted"
    #: The receiver wants nothing any more.
    GONE = "gone"


@dataclass(frozen=True)
class Step:
    """What follows an attempt.

    Attributes:
        next: What.
        after: How long to wait before it, if it is another attempt.
    """

    next: Next
    after: timedelta = timedelta()


def step(answer: Answer, attempt: int, schedule: Sequence[float] = STANDARD) -> Step:
    """Return what follows an attempt.

    Args:
        answer: What came of it.
        attempt: The attempt's number, from 1.
        schedule: How long to wait after each attempt, in seconds.
    """
    if answer.is_success:
        return Step(Next.DELIVERED)
    if answer.status == _GONE:
        return Step(Next.GONE)
    if attempt > len(schedule):
        return Step(Next.EXHAUSTED)
    asked = min(answer.retry_after or 0.0, MOST_SECONDS)
    return Step(Next.AGAIN, timedelta(seconds=max(schedule[attempt - 1], asked)))


def read_schedule(environment: Mapping[str, str] = os.environ) -> tuple[float, ...]:
    """Return the schedule that the environment has: seconds, comma-separated; the standard one if it has none.

    Raises:
        BadInput: if what it has is none.
    """
    text = environment.get(RETRIES, "")
    if not text.strip():
        return STANDARD
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 <= seconds <= _LONGEST_WAIT_SECONDS for seconds in found):
        raise BadInput(
            f"{RETRIES} is '{text}'. It is how many seconds to wait after each failed attempt, "
            "comma-separated, such as `5,300,1800`."
        )
    return found
