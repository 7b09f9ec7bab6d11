"""What is provably at least as narrow as something else. In doubt it is not."""

import re
from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase

from lockgate.access.selectors import Selector
from lockgate.gates.freeze import WeekTime
from lockgate.gates.policy import Approvals, FreezeWindow

Selectors = tuple[Selector, ...]
#: Whether whoever the first selectors name is also named by the second.
Within = Callable[[Selectors, Selectors], bool]

_WILDCARD = re.compile(r"[*?\[]")
_WEEK = 7 * 24 * 60
#: Beyond this many approvals nobody compares them one by one.
_MANY = 400


def pattern_within(pattern: str, others: Collection[str]) -> bool:
    """Say whether all names that match a pattern match one of the others."""
    return pattern in others or any(_within(pattern, other) for other in others)


def _within(pattern: str, other: str) -> bool:
    if not _WILDCARD.search(pattern):
        return fnmatchcase(pattern, other)
    prefix = other.removesuffix("*")
    if prefix == other or _WILDCARD.search(prefix):
        return False
    return _WILDCARD.split(pattern)[0].startswith(prefix)


def selectors_within(selectors: Selectors, others: Selectors) -> bool:
    """Say whether the others name everybody whom the selectors name; none at all name everybody."""
    return not others or (bool(selectors) and set(selectors) <= set(others))


def window_within(window: FreezeWindow, other: FreezeWindow) -> bool:
    """Say whether one freeze window covers another one."""
    length = _length(other.from_, other.to)
    if length == _WEEK:
        return True
    if window.timezone.key != other.timezone.key:
        return False
    begins_after = (window.from_.minute - other.from_.minute) % _WEEK
    return begins_after + _length(window.from_, window.to) <= length


def _length(from_: WeekTime, to: WeekTime) -> int:
    return (to.minute - from_.minute) % _WEEK or _WEEK


def unfilled(old: Sequence[Approvals], new: Sequence[Approvals], within: Within) -> list[tuple[Approvals, int]]:
    """Return the old demands that the new ones don't include, each with how many approvals are missing.

    Each approval that the old demands ask for is matched with one of the new: from the same people, or fewer. Then
    whoever meets the new demands meets the old ones, with the same distinct people.
    """
    wanted = [demand for demand in old for _ in range(demand.required)]
    given = [demand for demand in new for _ in range(demand.required)]
    if max(len(wanted), len(given)) > _MANY:
        return [(demand, demand.required) for demand in old if demand.required]
    fits = [[within(one.from_, demand.from_) for one in given] for demand in wanted]
    taken: dict[int, int] = {}

    def seat(place: int, tried: set[int]) -> bool:
        for which, fit in enumerate(fits[place]):
            if not fit or which in tried:
                continue
            tried.add(which)
            if which not in taken or seat(taken[which], tried):
                taken[which] = place
                return True
        return False

    left = [wanted[place] for place in range(len(wanted)) if not seat(place, set())]
    return [(demand, left.count(demand)) for demand in dict.fromkeys(left)]
