"""What the guard consists of, read from its SQL."""

import functools
import hashlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_SCHEMA = "@schema@"
_FUNCTION = re.compile(
    r"CREATE FUNCTION @schema@\.(?P<name>\w+)\((?P<arguments>[^)]*)\)\s*RETURNS (?P<head>.*?)"
    r"AS \$guard\$(?P<body>.*?)\$guard\$;",
    re.DOTALL,
)
_TRIGGER = re.compile(
    r"CREATE TRIGGER (?P<name>\w+) (?P<when>BEFORE|AFTER) (?P<events>[A-Z ]+) ON @schema@\.(?P<table>\w+)\s+"
    r"FOR EACH (?P<each>ROW|STATEMENT) EXECUTE FUNCTION @schema@\.(?P<function>\w+)\(\);"
)
_CREATED = re.compile(r"CREATE (?P<kind>TRIGGER|VIEW) (?P<name>\w+)")
# As PostgreSQL writes them into `pg_trigger.tgtype` (src/include/catalog/pg_trigger.h).
_BITS = {"ROW": 1, "BEFORE": 2, "INSERT": 4, "DELETE": 8, "UPDATE": 16, "TRUNCATE": 32}


@dataclass(frozen=True)
class Function:
    """A function on PostgreSQL."""

    name: str
    #: Its name and the types of its arguments, by which PostgreSQL knows it from others of its name.
    signature: str
    body: str
    language: str
    #: Whether it runs with the rights of its owner.
    as_owner: bool


@dataclass(frozen=True)
class Trigger:
    """A trigger on PostgreSQL."""

    name: str
    table: str
    function: str
    #: When it fires, in PostgreSQL's bits.
    bits: int


@dataclass(frozen=True)
class Piece:
    """A view or trigger on SQLite."""

    kind: str
    name: str
    #: The statement that creates it, as SQLite keeps it.
    sql: str


def fingerprint(dialect: str) -> str:
    """Return the SHA-256 of the guard that belongs to this version of Lockgate, as hexadecimal digits."""
    return hashlib.sha256(_text(dialect).encode()).hexdigest()


def postgresql(schema: str) -> str:
    """Return the statements for a schema, whose name is quoted already."""
    return _text("postgresql").replace(_SCHEMA, schema)


@functools.cache
def functions(schema: str) -> tuple[Function, ...]:
    """Return the functions that belong in a schema, whose name is quoted already."""
    return tuple(
        Function(
            found["name"],
            f"{schema}.{found['name']}({_types(found['arguments'])})".replace(_SCHEMA, schema),
            found["body"].replace(_SCHEMA, schema),
            found["head"].partition("LANGUAGE ")[2].split()[0],
            "SECURITY DEFINER" in found["head"],
        )
        for found in _FUNCTION.finditer(_text("postgresql"))
    )


def _types(arguments: str) -> str:
    return ", ".join(argument.split(maxsplit=1)[1] for argument in arguments.split(", ") if argument)


@functools.cache
def triggers() -> tuple[Trigger, ...]:
    """Return the triggers on PostgreSQL."""
    return tuple(
        Trigger(found["name"], found["table"], found["function"], _bits(found))
        for found in _TRIGGER.finditer(_text("postgresql"))
    )


def _bits(found: re.Match[str]) -> int:
    words = [found["each"], found["when"], *found["events"].split(" OR ")]
    return sum(_BITS.get(word, 0) for word in words)


@functools.cache
def pieces() -> tuple[Piece, ...]:
    """Return the views and triggers on SQLite, in the order in which they are created."""
    made = ((_CREATED.match(statement), statement) for statement in _statements(_text("sqlite")))
    return tuple(Piece(found["kind"].lower(), found["name"], statement) for found, statement in made if found)


def _statements(script: str) -> Iterator[str]:
    gathered = ""
    for line in script.splitlines(keepends=True):
        if not gathered and (line.startswith("--") or not line.strip()):
            continue
        gathered += line
        if sqlite3.complete_statement(gathered):
            yield gathered.strip().removesuffix(";")
            gathered = ""


@functools.cache
def _text(dialect: str) -> str:
    return (_HERE / f"{dialect}.sql").read_text(encoding="utf-8")


def drift() -> tuple[str, ...]:
    """Return the statements that bring the history up to what MLflow's tables say; they take `now`, in milliseconds."""
    return tuple(_statements(_text("drift")))
