"""Shell-style patterns as databases understand them: exactly what `fnmatch.fnmatchcase` means, in another language."""

from collections.abc import Iterator
from dataclasses import dataclass

_Ranges = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Set:
    """One character that is, or is not, within some ranges: `[a-cx]`, `[!a-cx]`."""

    ranges: _Ranges
    negated: bool


def as_glob(pattern: str) -> str | None:
    """Return the pattern for SQLite's GLOB; None if nothing matches it."""
    parts = [_glob_set(part) if isinstance(part, _Set) else part for part in _parts(pattern)]
    return None if None in parts else "".join(part for part in parts if part is not None)


def as_regex(pattern: str) -> str | None:
    """Return the pattern as a regular expression of PostgreSQL's; None if nothing matches it."""
    parts = [_regex_part(part) for part in _parts(pattern)]
    return None if None in parts else f"^{''.join(part for part in parts if part is not None)}$"


def _parts(pattern: str) -> Iterator[str | _Set]:
    """Take a pattern apart as `fnmatch` does: `*`, `?`, sets, and characters that stand for themselves."""
    at = 0
    while at < len(pattern):
        end = _end_of_set(pattern, at) if pattern[at] == "[" else -1
        if end > 0:
            yield _read_set(pattern[at + 1 : end])
            at = end + 1
            continue
        # A bracket that is never closed stands for itself.
        yield _Set((("[", "["),), False) if pattern[at] == "[" else pattern[at]
        at += 1


def _end_of_set(pattern: str, at: int) -> int:
    first = at + 2 if pattern[at + 1 : at + 2] == "!" else at + 1
    return pattern.find("]", first + 1)  # a bracket at the first place is a member of the set


def _read_set(text: str) -> _Set:
    negated = text.startswith("!")
    read = list(_ranges(text[negated:]))
    valid = [(low, high) for low, high in read if low <= high]
    if not negated and valid and valid[0] != read[0] and valid[0][0] == "!":
        # `fnmatch` leaves out a range that runs backwards, and then takes what has come to the front as negation.
        negated, (_, high) = True, valid.pop(0)
        valid[:0] = [("-", "-"), (high, high)] if high != "!" else []
    return _Set(tuple(valid), negated)


def _ranges(members: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(members):
        is_range = members[at + 1 : at + 2] == "-" and at + 2 < len(members)
        yield members[at], members[at + 2 if is_range else at]
        at += 3 if is_range else 1


def _glob_set(members: _Set) -> str | None:
    if not members.ranges:
        return "?" if members.negated else None
    if set(members.ranges) == {("^", "^")} and not members.negated:
        return "^"
    # GLOB takes a closing bracket for a member only at the first place, and `^` there for negation.
    apart = [part for low, high in members.ranges for part in _without_bracket(low, high)]
    apart.sort(key=lambda part: (part[0] == "^", -ord(part[1])))
    if apart and apart[0][0] == "^":
        apart.insert(0, (apart[0][1], apart[0][1]))
    bracket = "]" if any(low <= "]" <= high for low, high in members.ranges) else ""
    return f"[{'^' if members.negated else ''}{bracket}{''.join(f'{low}-{high}' for low, high in apart)}]"


def _without_bracket(low: str, high: str) -> _Ranges:
    if not low <= "]" <= high:
        return ((low, high),)
    around = ((low, "\\"), ("^", high))
    return tuple((first, last) for first, last in around if first <= last)


def _regex_part(part: str | _Set) -> str | None:
    match part:
        case "*":
            return ".*"
        case "?":
            return "."
        case _Set(ranges=()):
            return "." if part.negated else None
        case _Set():
            members = "".join(f"{_ordinary(low)}-{_ordinary(high)}" for low, high in part.ranges)
            return f"[{'^' if part.negated else ''}{members}]"
        case _:
            return _ordinary(part)


def _ordinary(character: str) -> str:
    is_plain = character.isascii() and character.isalnum()
    return character if is_plain else f"\\U{ord(character):08x}"
