"""Evaluating CEL: in this process, or as the program that `lockgate.gates.sandbox` runs in another one.

As that program it is started by its path, so it imports nothing of Lockgate.
"""

import functools
import json
import pickle
import resource
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cel

CPU_SECONDS = 1.0
MAX_MEMORY = 512 * 1024**2
MAX_QUOTED = 80


@dataclass(frozen=True)
class Outcome:
    """What an evaluation came to; `said` is the missing key, the error, what stopped it, or what else it is."""

    kind: Literal["bool", "missing", "other", "error", "stopped"]
    value: bool = False
    said: str = ""


@functools.lru_cache(maxsize=512)
def compiled(text: str) -> cel.Program:
    """Return the program of an expression; raises ValueError if it is not CEL."""
    return cel.compile(text)


def run(text: str, variables: Mapping[str, Any]) -> Outcome:
    """Evaluate an expression here and now. Nothing interrupts it, and it holds the interpreter's lock."""
    try:
        value = compiled(text).execute(dict(variables))
    except KeyError as error:
        return Outcome("missing", said=str(error.args[0])[:MAX_QUOTED])
    except (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, MemoryError) as error:
        return Outcome("error", said=first_line(error))
    if isinstance(value, bool):
        return Outcome("bool", value=value)
    return Outcome("other", said=quoted(value))


def quoted(value: Any) -> str:
    """Return a value for people, cut to what a sentence can hold."""
    if isinstance(value, str) and len(value) > MAX_QUOTED:
        return f"{value[:MAX_QUOTED]!r}… ({len(value):,} characters)"
    if isinstance(value, Mapping):
        return f"a map of {len(value):,}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value):,}"
    if isinstance(value, float):
        return "not a number" if value != value else f"{value:.6g}"
    shown = repr(value)
    return shown if len(shown) <= MAX_QUOTED else f"{shown[:MAX_QUOTED]}…"


def first_line(error: Exception) -> str:
    """Return what an error says, in one line."""
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


def serve() -> None:
    """Evaluate what comes in until there is no more; the kernel ends what takes too much.

    The signal's default action needs no cooperation of the interpreter, whose lock CEL holds while it evaluates,
    and it comes even when the server that asked is gone.
    """
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    while True:
        try:
            text, variables = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the server that started this process
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        outcome = run(text, variables)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
