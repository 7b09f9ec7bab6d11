"""The settings that a dialect knows, such as a project or a token. Those that it doesn't know are refused: a name that
is misspelt would else be one that is not there.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lockgate.errors import BadInput


@dataclass(frozen=True)
class Setting:
    """A setting that a dialect knows, or several that are called alike.

    Attributes:
        name: What it is called; of several, with a word in capitals for what differs: `variables[NAME]`.
        is_secret: Whether it is never shown. Unless it is a text, a header can carry it.
        says_where: Whether it is a part of where is told, as the URL is, or of what runs there: what is secret was
            given for that place.
        is_text: Whether it can hold anything, such as several lines.
        pattern: What all of several are called, as a regular expression.
    """

    name: str
    is_secret: bool = False
    says_where: bool = False
    is_text: bool = False
    pattern: str = ""

    def is_called(self, name: str) -> bool:
        """Say whether a setting of that name is this one, or one of these."""
        return bool(re.fullmatch(self.pattern, name, re.ASCII)) if self.pattern else name == self.name


def secret_among(known: Collection[Setting], names: Iterable[str]) -> frozenset[str]:
    """Return those of some names that are names of secret settings."""
    return frozenset(name for name in names if any(one.is_secret and one.is_called(name) for one in known))


def places_among(known: Collection[Setting], settings: Mapping[str, str]) -> dict[str, str]:
    """Return those of an endpoint's settings that say where is told."""
    where = {one.name for one in known if one.says_where}
    return {name: value for name, value in settings.items() if name in where}


def check_settings(dialect: str, known: Sequence[Setting], given: Mapping[str, str]) -> None:
    """Refuse settings that a dialect doesn't know, and values that nobody meant or that couldn't be sent.

    Args:
        dialect: What the dialect is called.
        known: The settings that it knows.
        given: The settings that it is given.

    Raises:
        BadInput: saying what there is, or what a value can't hold, without repeating it.
    """
    for name, value in given.items():
        setting = next((one for one in known if one.is_called(name)), None)
        if setting is None:
            there_are = f"It has {', '.join(one.name for one in known)}." if known else "It has none."
            raise BadInput(f"The dialect {dialect} has no setting {name[:100]!r}. {there_are}")
        if not setting.is_text:
            _check_value(name, value, setting.is_secret)


def _check_value(name: str, value: str, is_secret: bool) -> None:
    if value != value.strip():
        raise BadInput(
            f"The setting `{name}` begins or ends with blanks, which are easily copied along. Leave them out."
        )
    if not value.isprintable():
        raise BadInput(f"The setting `{name}` has characters that can't be seen, such as the end of a line.")
    if is_secret and not value.isascii():
        raise BadInput(f"The setting `{name}` goes into a header, which takes ASCII only.")
