"""Gate expressions in CEL (Common Expression Language, https://cel.dev): checking and evaluating them."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cel

from lockgate.errors import BadInput

MAX_LENGTH = 1_000
#: Each nested macro multiplies the work, and evaluation cannot be interrupted.
MAX_MACROS = 3
VARIABLES = ("metrics", "params", "tags", "version", "model", "incumbent", "requester", "checks", "now")

_MACRO = re.compile(r"\.\s*(?:all|exists|exists_one|existsOne|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_LITERAL = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""")
_REFERENCE = re.compile(
    r"""(?<![\w.])(?:metrics|params|tags|version|model|incumbent|checks|requester)
        (?:\.[A-Za-z_]\w*|\[\s*(?:"[^"]*"|'[^']*')\s*\])*""",
    re.VERBOSE,
)
_STEP = re.compile(r"""\.([A-Za-z_]\w*)|\[\s*(?:"([^"]*)"|'([^']*)')\s*\]""")


@dataclass(frozen=True)
class Result:
    """What an expression came to: true, false, or an error (None), with the values it looked at."""

    value: bool | None
    explanation: str


def check_expression(text: str) -> str:
    """Return an expression that can be evaluated.

    Raises:
        BadInput: if it is too long, not CEL, or uses a name that there is not.
    """
    if len(text) > MAX_LENGTH:
        raise BadInput(f"an expression may have {MAX_LENGTH} characters; this one has {len(text)}")
    try:
        used = set(_compiled(text).variables())
    except ValueError as error:
        raise BadInput(f"this is not CEL: {_first_line(error)}") from None
    bound = _MACRO.findall(_LITERAL.sub("''", text))
    if len(bound) > MAX_MACROS:
        raise BadInput(f"an expression may use {MAX_MACROS} of all, exists, map and filter")
    unknown = sorted(used - set(VARIABLES) - set(bound))
    if unknown:
        raise BadInput(f"there is no {unknown[0]!r}; expressions may use {', '.join(VARIABLES)}")
    return text


def evaluate(text: str, variables: Mapping[str, Any]) -> Result:
    """Evaluate an expression that `check_expression` has passed.

    Args:
        text: The expression.
        variables: A value for each of `VARIABLES`.

    Returns:
        The result; anything but true and false is an error.
    """
    try:
        value = _compiled(text).execute(dict(variables))
    except KeyError as error:
        missing = _missing_path(text, variables, str(error.args[0]))
        return Result(False, f"{missing} is missing; the gate needs {text}")
    except (ValueError, TypeError, RuntimeError, ArithmeticError, OverflowError) as error:
        if variables.get("incumbent") is None and (asked := _of_incumbent(text)):
            return Result(False, f"{asked} is missing: there is no incumbent; the gate needs {text}")
        looked_at = _looked_at(text, variables)
        because = f" ({looked_at})" if looked_at else ""
        return Result(None, f"{text} could not be evaluated{because}: {_first_line(error)}")
    if not isinstance(value, bool):
        return Result(None, f"{text} is {value!r}, neither true nor false")
    looked_at = _looked_at(text, variables)
    holds = "holds" if value else "does not hold"
    return Result(value, f"{text} {holds}" + (f": {looked_at}" if looked_at else ""))


@functools.lru_cache(maxsize=512)
def _compiled(text: str) -> cel.Program:
    return cel.compile(text)


def _paths(text: str) -> list[tuple[str, list[str]]]:
    paths = dict.fromkeys(match[0] for match in _REFERENCE.finditer(text))
    return [(path, _steps(path)) for path in paths]


def _steps(path: str) -> list[str]:
    root = re.match(r"\w+", path)
    assert root is not None
    return [root[0], *(next(filter(None, groups), "") for groups in _STEP.findall(path))]


def _lookup(variables: Mapping[str, Any], steps: list[str]) -> Any:
    """Return the value at a path; raises KeyError where the path ends early."""
    value: Any = variables
    for step in steps:
        if not isinstance(value, Mapping):
            raise KeyError(step)
        value = value[step]
    return value


def _missing_path(text: str, variables: Mapping[str, Any], key: str) -> str:
    for path, steps in _paths(text):
        if key in steps[1:]:
            try:
                _lookup(variables, steps)
            except KeyError:
                return path
    return key


def _of_incumbent(text: str) -> str | None:
    return next((path for path, steps in _paths(text) if steps[0] == "incumbent" and len(steps) > 1), None)


def _looked_at(text: str, variables: Mapping[str, Any]) -> str:
    shown = []
    for path, steps in _paths(text):
        try:
            value = _lookup(variables, steps)
        except KeyError:
            continue
        if value is None:
            shown.append(f"there is no {path}")
        elif not isinstance(value, Mapping):
            shown.append(f"{path} is {_number(value)}")
    return ", ".join(shown)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__
