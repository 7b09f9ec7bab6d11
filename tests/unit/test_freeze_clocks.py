"""Freeze windows while clocks change: no window has a hole in it, and none outlives its end by the clock on the wall.

In Berlin 02:00 to 03:00 is skipped on 2026-03-29 and comes twice on 2026-10-25; in New York 02:00 to 03:00 is skipped on
2026-03-08 and 01:00 to 02:00 comes twice on 2026-11-01. Kolkata and Tokyo never change.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from lockgate.gates.freeze import in_force
from lockgate.gates.policy import FreezeWindow

BERLIN, NEW_YORK, KOLKATA = "Europe/Berlin", "America/New_York", "Asia/Kolkata"


def window(begins: str, ends: str, zone: str) -> FreezeWindow:
    return FreezeWindow.model_validate({"name": "w", "from": begins, "to": ends, "timezone": zone})


def spans(frozen: FreezeWindow, around: datetime) -> list[tuple[str, str]]:
    """Return when a window comes into force and ends within four days around a moment, in UTC, to the minute."""
    found, since = [], None
    for at in _minutes(around - timedelta(days=2), around + timedelta(days=2)):
        now = in_force(frozen, at)
        if now and since is None:
            since = at
        if not now and since is not None:
            found.append((f"{since:%d %H:%M}", f"{at:%d %H:%M}"))
            since = None
    return found


def _minutes(start: datetime, end: datetime) -> Iterator[datetime]:
    while start < end:
        yield start
        start += timedelta(minutes=1)


SPRING, AUTUMN = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)
US_SPRING, US_AUTUMN = datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("begins", "ends", "zone", "around", "expected"),
    [
        # Friday noon to Monday morning is an hour shorter in spring, an hour longer in autumn.
        ("Fri 12:00", "Mon 08:00", BERLIN, SPRING, [("27 11:00", "30 06:00")]),
        ("Fri 12:00", "Mon 08:00", BERLIN, AUTUMN, [("23 10:00", "26 07:00")]),
        ("Fri 12:00", "Mon 08:00", NEW_YORK, US_SPRING, [("06 17:00", "09 12:00")]),
        ("Fri 12:00", "Mon 08:00", NEW_YORK, US_AUTUMN, [("30 16:00", "02 13:00")]),
        ("Fri 12:00", "Mon 08:00", KOLKATA, SPRING, [("27 06:30", "30 02:30")]),
        ("Fri 12:00", "Mon 08:00", KOLKATA, AUTUMN, [("23 06:30", "26 02:30")]),
        # From a moment that does not exist: from when the clock has passed it. Until one: the same.
        ("Sun 02:30", "Sun 05:00", BERLIN, SPRING, [("29 01:00", "29 03:00")]),
        ("Sat 22:00", "Sun 02:30", BERLIN, SPRING, [("28 21:00", "29 01:00")]),
        ("Sun 02:30", "Sun 05:00", NEW_YORK, US_SPRING, [("08 07:00", "08 09:00")]),
        # All of it in the hour that is skipped: it does not take place.
        ("Sun 02:10", "Sun 02:50", BERLIN, SPRING, []),
        # From a moment that comes twice: from the first time. Until one: to the second. No hole between.
        ("Sun 02:30", "Sun 05:00", BERLIN, AUTUMN, [("25 00:30", "25 04:00")]),
        ("Sat 22:00", "Sun 02:30", BERLIN, AUTUMN, [("24 20:00", "25 01:30")]),
        ("Sun 02:10", "Sun 02:50", BERLIN, AUTUMN, [("25 00:10", "25 01:50")]),
        ("Sun 02:00", "Sun 03:00", BERLIN, AUTUMN, [("25 00:00", "25 02:00")]),
        ("Sat 23:00", "Sun 02:00", BERLIN, AUTUMN, [("24 21:00", "25 01:00")]),
        ("Sun 01:30", "Sun 05:00", NEW_YORK, US_AUTUMN, [("01 05:30", "01 10:00")]),
        ("Sat 22:00", "Sun 01:30", NEW_YORK, US_AUTUMN, [("01 02:00", "01 06:30")]),
        ("Sun 02:30", "Sun 05:00", KOLKATA, AUTUMN, [("24 21:00", "24 23:30")]),
        # Around the hour that comes twice, but not in it.
        ("Sun 03:00", "Sun 04:00", BERLIN, AUTUMN, [("25 02:00", "25 03:00")]),
        ("Sat 23:00", "Sun 01:00", BERLIN, AUTUMN, [("24 21:00", "24 23:00")]),
    ],
)  # fmt: skip
def test_windows_while_the_clock_changes(
    begins: str, ends: str, zone: str, around: datetime, expected: list[tuple[str, str]]
) -> None:
    assert spans(window(begins, ends, zone), around) == expected


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, KOLKATA, "Asia/Tokyo", "Australia/Lord_Howe", "America/Havana"])
@pytest.mark.parametrize("begins", ["Fri 12:00", "Sun 01:30", "Sun 02:15", "Sun 00:30"])
def test_a_window_comes_once_a_week(begins: str, zone: str) -> None:
    """In every week of a change, somewhere in the world, there is one span, never two with a hole between them."""
    frozen = window(begins, "Mon 08:00", zone)
    for week in (9, 12, 13, 39, 42, 43):
        middle = datetime(2026, 1, 4, 12, tzinfo=UTC) + timedelta(weeks=week)
        held = [in_force(frozen, at.astimezone(ZoneInfo(zone))) for at in _every(middle)]
        changes = sum(a != b for a, b in pairwise(held))
        assert changes == 2, (week, zone)


def _every(middle: datetime) -> list[datetime]:
    return [middle + timedelta(minutes=10 * n) for n in range(-6 * 84, 6 * 84)]
