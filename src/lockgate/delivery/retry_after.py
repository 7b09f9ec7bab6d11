"""When a receiver asks to be called again: the header Retry-After, in seconds or as a date. Pure."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: A receiver can put a delivery off for no longer, whatever it asks for.
MOST_SECONDS = 24 * 3600.0

_SECONDS = re.compile(r"[0-9]+")


def seconds_to_wait(header: str | None, at: datetime) -> float | None:
    """Return for how many seconds a receiver asks not to be called; None if it doesn't say, or says nothing known.

    Args:
        header: The value of Retry-After, if there is one.
        at: The time.
    """
    if header is None:
        return None
    if _SECONDS.fullmatch(header):
        # More digits than a day has are a day; Python would refuse to read thousands of them.
        return MOST_SECONDS if len(header) > 9 else min(float(header), MOST_SECONDS)
    try:
        until = parsedate_to_datetime(header)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # HTTP's dates are in GMT; where one says that its zone is not known, Python gives none.
    seconds = (until if until.tzinfo else until.replace(tzinfo=UTC)) - at
    return min(max(seconds.total_seconds(), 0.0), MOST_SECONDS)
