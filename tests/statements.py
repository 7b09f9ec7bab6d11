"""What a PostgreSQL server is asked, as its own log tells it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

# Ends of transactions, the empty statement by which a pool sees that a connection lives, and our own.
_NOT_COUNTED = ("BEGIN", "COMMIT", "ROLLBACK", ";", "ALTER SYSTEM", "SELECT pg_reload_conf", "SELECT pg_sleep")


@contextmanager
def statements(uri: str) -> Iterator[list[str]]:
    """Gather the statements that a server is sent during the block, from any session.

    Args:
        uri: A database of the server, as a superuser.
    """
    told: list[str] = []
    with psycopg.connect(uri, autocommit=True) as connection:
        found = connection.execute("SHOW data_directory").fetchone()
        assert found is not None
        log = Path(found[0]) / "log"
        _set_logging(connection, "all")
        begins_at = log.stat().st_size
        try:
            yield told
        finally:
            _set_logging(connection, "none")
    with log.open() as lines:
        lines.seek(begins_at)
        told += [statement for statement in _logged(lines) if not statement.startswith(_NOT_COUNTED)]


def _set_logging(connection: psycopg.Connection, which: str) -> None:
    connection.execute(f"ALTER SYSTEM SET log_statement = '{which}'".encode())
    connection.execute("SELECT pg_reload_conf()")
    # Sessions take it up before their next statement, once the server has told them.
    connection.execute("SELECT pg_sleep(0.2)")


def _logged(lines: Iterator[str]) -> list[str]:
    found: list[str] = []
    for line in lines:
        _, is_told, text = line.rstrip().partition("LOG:  ")
        if is_told:
            found.append(text.partition(": ")[2])
        elif line.startswith("\t") and found:
            found[-1] += " " + line.strip()
    return [text for text in found if text]
