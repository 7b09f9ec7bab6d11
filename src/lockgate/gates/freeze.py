"""Freeze windows: parts of the week in which nothing is promoted, by the clock on somebody's wall."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WEEK_TIME = re.compile(r"([A-Z][a-z]{2}) ([01]\d|2[0-3]):([0-5]\d)")
_DAY_MINUTES = 24 * 60
_WEEK_MINUTES = 7 * _DAY_MINUTES


@dataclass(frozen=True, order=True)
class WeekTime:
    """A moment of each week, in minutes since Monday 00:00 local time."""

    minute: int

    @classmethod
    def parse(cls, text: str) -> "WeekTime":
        """Read `Fri 12:00`."""
        match = _WEEK_TIME.fullmatch(text)
        if match is None or match[1] not in DAYS:
            raise ValueError(f"write a day and a time, such as 'Fri 12:00' (days: {', '.join(DAYS)})")
        return cls(DAYS.index(match[1]) * _DAY_MINUTES + int(match[2]) * 60 + int(match[3]))

    def __str__(self) -> str:
        day, minute = divmod(self.minute, _DAY_MINUTES)
        return f"{DAYS[day]} {minute // 60:02}:{minute % 60:02}"


class Window(Protocol):
    """What a weekly freeze window has."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def from_(self) -> WeekTime:
        """When it begins."""

    @property
    def to(self) -> WeekTime:
        """When it ends; earlier in the week than its beginning if it goes over Sunday night."""

    @property
    def timezone(self) -> ZoneInfo:
        """Whose wall clock counts."""


def in_force(window: Window, now: datetime) -> bool:
    """Say whether a window is in force.

    Args:
        window: The window.
        now: The time, with its zone.
    """
    local = now.astimezone(window.timezone)
    minute = WeekTime(local.weekday() * _DAY_MINUTES + local.hour * 60 + local.minute)
    if window.from_ < window.to:
        by_the_wall = window.from_ <= minute < window.to
    else:
        by_the_wall = minute >= window.from_ or minute < window.to
    return by_the_wall or _goes_on(window, local)


def _goes_on(window: Window, local: datetime) -> bool:
    """Say whether, in an hour that comes twice, a window began the first time or will end the second.

    By the wall alone it would pause in between.
    """
    if not _comes_twice(local):
        return False
    day, minute = divmod((window.from_ if local.fold else window.to).minute, _DAY_MINUTES)
    edge = local.replace(hour=minute // 60, minute=minute % 60, second=0, microsecond=0, fold=0)
    if day != local.weekday() or not _comes_twice(edge):
        return False
    wall = local.replace(fold=0)
    return edge > wall if local.fold else edge <= wall


def _comes_twice(local: datetime) -> bool:
    first, second = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    return first is not None and second is not None and first > second


def frozen_by(windows: Iterable[Window], now: datetime) -> list[str]:
    """Return a sentence for each window that is in force."""
    return [
        f"The freeze window '{window.name}' is in force until {_end(window, now)}."
        for window in windows
        if in_force(window, now)
    ]


def _end(window: Window, now: datetime) -> str:
    local = now.astimezone(window.timezone)
    minute = local.weekday() * _DAY_MINUTES + local.hour * 60 + local.minute
    ahead = (window.to.minute - minute) % _WEEK_MINUTES
    # Wall-clock arithmetic: adding to a local time keeps its zone and leaves clock changes to the wall.
    end = local.replace(second=0, microsecond=0) + timedelta(minutes=ahead)
    return f"{window.to} {window.timezone.key} ({end.date().isoformat()})"
