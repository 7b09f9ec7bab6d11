"""Gate expressions in CEL (Common Expression Language, https://cel.dev): checking and evaluating them.

Maintainers write the expressions, but whoever makes a run writes what they look at. So all that can cost more than a
glance is evaluated in a sandbox, and whatever goes over a limit is an error, which lets nothing pass.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockgate.errors import BadInput
from lockgate.gates import evaluation, sandbox
from lockgate.gates.evaluation import compiled, first_line, quoted

MAX_LENGTH = 1_000
MAX_MACROS = 3
MAX_NESTING = 32
#: Of what an expression looks at, in bytes: 5,000 params of 500 characters are 3 MB.
MAX_DATA = 16 * 1024**2
#: Up to here a thousand characters of plain CEL (`tags.a + tags.a + ...`) take some tens of milliseconds.
MAX_DATA_IN_PROCESS = 64 * 1024
MAX_SHOWN = 12
VARIABLES = (
    "metrics",
    "params",
    "tags",
    "version",
    "model",
    "incumbent",
    "requester",
    "checks",
    "datasets",
    "artifacts",
    "now",
)

_TIME = "getFullYear getMonth getDayOfYear getDayOfMonth getDate getDayOfWeek getHours getMinutes getSeconds"
#: All take time and space in proportion to their arguments.
_PLAIN_FUNCTIONS = frozenset(
    f"size startsWith endsWith contains int uint double string bytes timestamp duration type dyn {_TIME}".split()
)
_FUNCTIONS = _PLAIN_FUNCTIONS | {"matches"}
_MACROS = frozenset(["all", "exists", "exists_one", "map", "filter"])
_OTHERWISE = {
    **dict.fromkeys(["replace", "split", "join", "format", "substring", "lowerAscii", "upperAscii"], "matches"),
    **dict.fromkeys(["min", "max", "greatest", "least", "range"], "all or exists"),
}

_MACRO_WORD = re.compile(r"\b(?:all|exists|exists_one|existsOne|map|filter)\b")
_MACRO = re.compile(r"\.\s*(?:all|exists|exists_one|existsOne|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_LITERAL = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""")
_REFERENCE = re.compile(
    rf"""(?:{_LITERAL.pattern})|(?P<path>(?<![\w.])
        (?:metrics|params|tags|version|model|incumbent|checks|requester|datasets|artifacts)\b
        (?:\.[A-Za-z_]\w*\b(?!\s*\()|\[\s*(?:"[^"]*"|'[^']*')\s*\])*)""",
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
    without_literals = _LITERAL.sub("''", text)
    if (nesting := _nesting(without_literals)) > MAX_NESTING:
        raise BadInput(f"an expression may nest {MAX_NESTING} brackets; this one nests {nesting}")
    try:
        program = compiled(text)
    except ValueError as error:
        raise BadInput(f"this is not CEL: {first_line(error)}") from None
    bound = _MACRO.findall(without_literals)
    if len(bound) > MAX_MACROS:
        raise BadInput(f"an expression may use {MAX_MACROS} of all, exists, map and filter; this one uses {len(bound)}")
    _check_functions(_named(program.functions()))
    unknown = sorted(set(program.variables()) - set(VARIABLES) - set(bound))
    if unknown:
        raise BadInput(f"there is no {unknown[0]!r}; expressions may use {', '.join(VARIABLES)}")
    return text


def _check_functions(named: set[str]) -> None:
    for name in sorted(named - _FUNCTIONS):
        instead = f"; use {_OTHERWISE[name]}" if name in _OTHERWISE else ""
        there_are = ", ".join(sorted(_FUNCTIONS | _MACROS))
        raise BadInput(f"there is no function {name!r}{instead}; expressions may use has, {there_are}")


def evaluate(text: str, variables: Mapping[str, Any]) -> Result:
    """Evaluate an expression that `check_expression` has passed, within the limits whatever the values are.

    Args:
        text: The expression.
        variables: A value for each of `VARIABLES`.

    Returns:
        The result; anything but true and false is an error.
    """
    try:
        program = compiled(text)
    except ValueError as error:
        return Result(None, f"{text[:MAX_LENGTH]} could not be evaluated: {first_line(error)}")
    used = {name: variables[name] for name in program.variables() if name in variables}
    size = _size(used)
    if size > MAX_DATA:
        return _stopped(text, used, f"that is more than {MAX_DATA:,} bytes")
    in_process = size <= MAX_DATA_IN_PROCESS and _is_plain(text, program.functions())
    outcome = evaluation.run(text, used) if in_process else sandbox.run(text, used)
    match outcome.kind:
        case "bool":
            return _holds(text, variables, outcome.value)
        case "missing":
            return Result(False, f"{_missing_path(text, variables, outcome.said)} is missing; the gate needs {text}")
        case "other":
            return Result(None, f"{text} is {outcome.said}, neither true nor false")
        case "error":
            return _not_evaluated(text, variables, outcome.said)
        case "stopped":
            return _stopped(text, used, outcome.said)


def _holds(text: str, variables: Mapping[str, Any], value: bool) -> Result:
    looked_at = _looked_at(text, variables)
    holds = "holds" if value else "does not hold"
    return Result(value, f"{text} {holds}" + (f": {looked_at}" if looked_at else ""))


def _not_evaluated(text: str, variables: Mapping[str, Any], why: str) -> Result:
    if variables.get("incumbent") is None and (asked := _of_incumbent(text)):
        return Result(False, f"{asked} is missing: there is no incumbent; the gate needs {text}")
    looked_at = _looked_at(text, variables)
    because = f" ({looked_at})" if looked_at else ""
    return Result(None, f"{text} could not be evaluated{because}: {why}")


def _stopped(text: str, used: Mapping[str, Any], why: str) -> Result:
    amounts = ", ".join(_amount(name, value) for name, value in used.items())
    over = f" over {amounts} ({_size(used):,} bytes)" if used else ""
    return Result(None, f"{text} was not evaluated to its end{over}: {why}, so it counts as failed")


def _named(functions: list[str]) -> set[str]:
    """Return the functions without the operators, whose names (`_+_`, `@in`) are no identifiers."""
    return {name for name in functions if name.isidentifier() and not name.startswith("_")}


def _is_plain(text: str, functions: list[str]) -> bool:
    """Return whether nothing is done for each of many and no regular expression is matched.

    That a macro's name occurs anywhere, be it in a string, is enough to say no: what is plain must be so for sure.
    """
    return (
        _named(functions) <= _PLAIN_FUNCTIONS
        and "@not_strictly_false" not in functions
        and not _MACRO_WORD.search(text)
    )


def _nesting(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _size(value: Any) -> int:
    """Return about how many bytes CEL needs for a value."""
    if isinstance(value, str | bytes):
        return 32 + len(value)
    if isinstance(value, Mapping):
        return 32 + sum(_size(key) + _size(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return 32 + sum(map(_size, value))
    return 16


def _amount(name: str, value: Any) -> str:
    """Return how much there is of a variable."""
    if isinstance(value, Mapping | list | tuple) and name in ("metrics", "params", "tags", "checks", "datasets"):
        return f"{len(value):,} {name if len(value) != 1 else name[:-1]}"
    return f"{_size(value):,} bytes of {name}"


def _paths(text: str) -> list[tuple[str, list[str]]]:
    paths = dict.fromkeys(match["path"] for match in _REFERENCE.finditer(text) if match["path"])
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
        shown.append(_shown(path, value))
    more = [f"and {len(shown) - MAX_SHOWN} more"] if len(shown) > MAX_SHOWN else []
    return ", ".join(shown[:MAX_SHOWN] + more)


def _shown(path: str, value: Any) -> str:
    if value is None:
        return f"there is no {path}"
    if isinstance(value, Mapping | list | tuple):
        return f"{path} has {len(value):,} {'entry' if len(value) == 1 else 'entries'}"
    return f"{path} is {quoted(value)}"
