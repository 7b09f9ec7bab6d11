"""Caveats: what a token is narrowed to. They take away, they never give: its principal may do so much at most."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from lockgate.access.roles import EVERY_MODEL, Permission, parse_permission
from lockgate.errors import BadInput

_MAX_PATTERNS = 50
_MAX_PATTERN = 256


@dataclass(frozen=True)
class Caveat:
    """One narrowing of a token. None narrows nothing."""

    #: What its holder may still do.
    only: frozenset[Permission] | None = None
    #: Patterns of the names of models and experiments that it may still be done to.
    on: tuple[str, ...] | None = None

    def permits(self, permission: Permission, name: str | None) -> bool:
        """Say whether something may be done to what has this name (None: to everything)."""
        return self.permits_somewhere(permission) and (self.on is None or self._covers(name))

    def permits_somewhere(self, permission: Permission) -> bool:
        """Say whether something may be done to anything at all."""
        return self.only is None or permission in self.only

    def _covers(self, name: str | None) -> bool:
        patterns = self.on or ()
        return EVERY_MODEL in patterns if name is None else any(fnmatchcase(name, pattern) for pattern in patterns)

    def __str__(self) -> str:
        what = "everything" if self.only is None else ", ".join(right for right in Permission if right in self.only)
        where = "" if self.on is None else f" on {', '.join(self.on)}"
        return f"only {what}{where}"


#: All of them must permit what is done. A token that a token makes inherits them, so it is never the stronger one.
Caveats = tuple[Caveat, ...]


def caveats_of(actions: Iterable[str], patterns: Iterable[str]) -> Caveats:
    """Return the caveats that somebody asks for; none, if they name no action and no pattern.

    Reading goes along with every action: whoever may promote something may look at it.

    Raises:
        BadInput: if an action is not known or a pattern can't be one.
    """
    asked, on = [parse_permission(action) for action in actions], tuple(dict.fromkeys(patterns))
    if len(on) > _MAX_PATTERNS or not all(0 < len(pattern) <= _MAX_PATTERN and "\0" not in pattern for pattern in on):
        raise BadInput(
            f"A token may be narrowed to {_MAX_PATTERNS} patterns of names, of 1 to {_MAX_PATTERN} characters each."
        )
    if not asked and not on:
        return ()
    return (Caveat(frozenset({Permission.READ, *asked}) if asked else None, on or None),)


def to_json(caveats: Caveats) -> str | None:
    """Return caveats as they are stored; None for none."""
    return json.dumps([as_data(caveat) for caveat in caveats]) if caveats else None


def from_json(text: str | None) -> Caveats:
    """Return stored caveats. What can't be understood permits nothing."""
    if text is None:
        return ()
    try:
        return tuple(_read(data) for data in json.loads(text))
    except (ValueError, KeyError, TypeError):
        return (Caveat(frozenset(), ()),)


def as_data(caveat: Caveat) -> dict[str, list[str]]:
    """Return a caveat as it is stored and shown: `{"only": [...], "only_models": [...]}`."""
    only: Sequence[str] | None = None if caveat.only is None else sorted(caveat.only)
    parts = {"only": only, "only_models": caveat.on}
    return {name: list(part) for name, part in parts.items() if part is not None}


def _read(data: Any) -> Caveat:
    if not isinstance(data, dict) or not data.keys() <= {"only", "only_models"}:
        raise ValueError("this is no caveat")
    only, on = data.get("only"), data.get("only_models")
    return Caveat(
        None if only is None else frozenset(Permission(right) for right in only),
        None if on is None else tuple(str(pattern) for pattern in on),
    )
