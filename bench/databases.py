"""Databases that are made, filled with many rows, and copied: SQLite's files, and those of a PostgreSQL server."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

import psycopg
from bench.population import Rows
from bench.postgres import Postgres, postgres

KINDS = ("sqlite", "postgresql")


class Databases(Protocol):
    """Where databases are made."""

    @property
    def kind(self) -> str:
        """One of the `KINDS`."""

    @property
    def version(self) -> str:
        """What runs them, in words."""

    @property
    def process(self) -> int | None:
        """The process that runs them, if it is one of its own."""

    def new_database(self) -> str:
        """Make an empty one; returns its URI."""

    def fill(self, uri: str, rows: Rows) -> None:
        """Put rows in."""

    def finish(self, uri: str) -> None:
        """Do what the database would do by itself some time after it was filled."""

    def copy(self, uri: str) -> str:
        """Copy one to which nobody is connected; returns the copy's URI."""


@dataclass(frozen=True)
class Files:
    """SQLite's, in a folder."""

    folder: Path
    numbers: Iterator[int]
    kind: str = "sqlite"
    version: str = f"SQLite {sqlite3.sqlite_version}"
    process: None = None

    def new_database(self) -> str:
        """Return the URI of a file that is not there yet."""
        return f"sqlite:///{self.folder}/{next(self.numbers)}.db"

    def fill(self, uri: str, rows: Rows) -> None:
        """Put rows in."""
        columns, places = ", ".join(rows.columns), ", ".join("?" for _ in rows.columns)
        with closing(self._open(uri)) as file, file:
            # Names of tables and columns, from bench/population.py.
            file.executemany(f"INSERT INTO {rows.table} ({columns}) VALUES ({places})", rows.values)  # noqa: S608

    def finish(self, uri: str) -> None:
        """SQLite does nothing by itself."""

    def copy(self, uri: str) -> str:
        """Copy a file."""
        made = self.new_database()
        with closing(self._open(uri)) as file, closing(self._open(made)) as copy:
            file.backup(copy)
        return made

    @staticmethod
    def _open(uri: str) -> sqlite3.Connection:
        return sqlite3.connect(uri.removeprefix("sqlite:///"))


@dataclass(frozen=True)
class Served:
    """Those of a PostgreSQL server."""

    server: Postgres
    kind: str = "postgresql"

    @property
    def version(self) -> str:
        """PostgreSQL, and which."""
        with psycopg.connect(self.server.uri) as connection:
            return f"PostgreSQL {connection.info.parameter_status('server_version')}"

    @property
    def process(self) -> int:
        """The server's process."""
        return self.server.process

    def new_database(self) -> str:
        """Make an empty database."""
        return self.server.new_database()

    def fill(self, uri: str, rows: Rows) -> None:
        """Put rows in."""
        statement = f"COPY {rows.table} ({', '.join(rows.columns)}) FROM STDIN"
        with psycopg.connect(uri) as connection, connection.cursor().copy(statement.encode()) as copy:
            for row in rows.values:
                copy.write_row(row)

    def finish(self, uri: str) -> None:
        """Count what is there, as autovacuum would within minutes."""
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")

    def copy(self, uri: str) -> str:
        """Copy a database."""
        return self.server.copy(uri)


@contextmanager
def databases(kind: str, folder: Path) -> Iterator[Databases]:
    """Run what databases of a kind need."""
    if kind == "sqlite":
        yield Files(folder, count(1))
    else:
        with postgres(folder) as server:
            yield Served(server)
