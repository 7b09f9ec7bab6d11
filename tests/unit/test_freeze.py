"""Freeze windows, across Sunday night and through changes of the clock."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from lockgate.gates.freeze import frozen_by, in_force
from lockgate.gates.policy import FreezeWindow

WEEKEND = FreezeWindow.model_validate(
    {"name": "weekend", "from": "Fri 12:00", "to": "Mon 08:00", "timezone": "Europe/Berlin"}
)
LUNCH = FreezeWindow.model_validate({"name": "lunch", "from": "Wed 12:00", "to": "Wed 13:00"})
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("at", "frozen"),
    [
        (datetime(2026, 5, 15, 11, 59, tzinfo=BERLIN), False),  # a Friday
        (datetime(2026, 5, 15, 12, 0, tzinfo=BERLIN), True),
        (datetime(2026, 5, 17, 23, 59, tzinfo=BERLIN), True),
        (datetime(2026, 5, 18, 0, 0, tzinfo=BERLIN), True),
        (datetime(2026, 5, 18, 7, 59, tzinfo=BERLIN), True),
        (datetime(2026, 5, 18, 8, 0, tzinfo=BERLIN), False),
        (datetime(2026, 5, 15, 10, 0, tzinfo=UTC), True),  # 12:00 in Berlin's summer
        (datetime(2026, 1, 16, 10, 59, tzinfo=UTC), False),  # 11:59 in its winter
        (datetime(2026, 1, 16, 11, 0, tzinfo=UTC), True),
        (datetime(2026, 3, 29, 1, 30, tzinfo=UTC), True),  # the night the clock goes forward
        (datetime(2026, 3, 30, 5, 59, tzinfo=UTC), True),  # 07:59 by then
        (datetime(2026, 3, 30, 6, 0, tzinfo=UTC), False),
        (datetime(2026, 10, 26, 6, 59, tzinfo=UTC), True),  # 07:59 after it went back
        (datetime(2026, 10, 26, 7, 0, tzinfo=UTC), False),
    ],
)
def test_the_weekend_by_the_clock_in_berlin(at: datetime, frozen: bool) -> None:
    assert in_force(WEEKEND, at) is frozen


def test_a_window_within_a_day() -> None:
    assert in_force(LUNCH, datetime(2026, 5, 13, 12, 30, tzinfo=UTC))
    assert not in_force(LUNCH, datetime(2026, 5, 13, 13, 0, tzinfo=UTC))
    assert not in_force(LUNCH, datetime(2026, 5, 14, 12, 30, tzinfo=UTC))


def test_the_sentence_says_until_when() -> None:
    (sentence,) = frozen_by([WEEKEND, LUNCH], datetime(2026, 5, 16, 9, 0, tzinfo=UTC))
    assert sentence == "The freeze window 'weekend' is in force until Mon 08:00 Europe/Berlin (2026-05-18)."
