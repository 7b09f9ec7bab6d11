"""The form of names that new models must have: `{domain}-{team}-{use_case}`."""

import re
from dataclasses import dataclass

from lockgate.errors import BadInput

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_FIRST = re.compile(r"[a-z0-9]")
_PART = re.compile(r"[a-z0-9][a-z0-9_-]*")
_MAX_SHOWN = 300


@dataclass(frozen=True)
class Naming:
    """A form of names: placeholders, and what stands before, between and behind them."""

    form: str
    placeholders: tuple[str, ...]
    #: One more than placeholders.
    literals: tuple[str, ...]

    @classmethod
    def parse(cls, form: str) -> "Naming":
        """Read a form.

        Raises:
            ValueError: if it has no placeholder, or a stray brace.
        """
        if not _PLACEHOLDER.search(form) or re.search(r"[{}]", _PLACEHOLDER.sub("", form)):
            raise ValueError("write placeholders in braces, such as {domain}-{team}-{use_case}")
        parts = _PLACEHOLDER.split(form)
        return cls(form, tuple(parts[1::2]), tuple(parts[::2]))

    def check(self, name: str) -> None:
        """Refuse a name that is not of this form.

        Raises:
            BadInput: with what is wrong with it and a name that would do.
        """
        problem = self.problem(name)
        if problem is not None:
            raise BadInput(
                f"The policy wants names of the form {self.form}; {name[:_MAX_SHOWN]!r} is not: {problem}. "
                f"A good one: {self._better(name)!r}."
            )

    def problem(self, name: str) -> str | None:
        """Say what keeps a name from being of this form, or None.

        Each part ends as early as it can, which never keeps the rest from fitting: so this takes no longer than
        reading the name once.
        """
        if not name.startswith(self.literals[0]):
            return f"it does not begin with {self.literals[0]!r}"
        at = len(self.literals[0])
        for which, placeholder in enumerate(self.placeholders):
            if not _FIRST.match(name, at):
                begins = f"begins with {name[at]!r}" if at < len(name) else "is empty"
                return f"{{{placeholder}}} {begins}; a part begins with a small letter or a digit"
            is_last = which == len(self.placeholders) - 1
            end = self._end_of_last(name, at) if is_last else self._end_of(which, name, at)
            if end is None:
                return self._why_no_end(which, name, at)
            at = end + len(self.literals[which + 1])
        return None

    def _end_of(self, which: int, name: str, at: int) -> int | None:
        """Return where a part ends: before the first text that is to follow it, and a possible next part."""
        follows, longest = self.literals[which + 1], _end_of_run(name, at)
        end = name.find(follows, at + 1, longest + len(follows))
        while end != -1 and not _FIRST.match(name, end + len(follows)):
            end = name.find(follows, end + 1, longest + len(follows))
        return end if end != -1 else None

    def _end_of_last(self, name: str, at: int) -> int | None:
        end = len(name) - len(self.literals[-1])
        return end if end > at and name.endswith(self.literals[-1]) and _end_of_run(name, at) >= end else None

    def _why_no_end(self, which: int, name: str, at: int) -> str:
        follows, run = self.literals[which + 1], _end_of_run(name, at)
        if run < len(name) and name[run] not in "".join(self.literals):
            return f"{name[run]!r} can't stand in it; use small letters, digits, - and _"
        after = f" and {{{self.placeholders[which + 1]}}}" if which + 1 < len(self.placeholders) else ""
        return f"{follows!r}{after} must follow {{{self.placeholders[which]}}}"

    def _better(self, name: str) -> str:
        """Return the name with what can't stand in it replaced, if that does, else one made of the form."""
        spelled = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")
        if self.problem(spelled) is None:
            return spelled
        return _PLACEHOLDER.sub(lambda match: match[1].replace("_", "-"), self.form)


def _end_of_run(name: str, at: int) -> int:
    found = _PART.match(name, at)
    return found.end() if found else at
