"""How many calls Lockgate answers, beside a stock `mlflow server` on a copy of the same database.

    python -m bench.reads [--versions 10000 [100000]] [--models 1000] [--databases sqlite postgresql] [--workers 1]
                          [--rounds 2] [--seconds 2] [--only WORD] [--full] [--write]

MLflow makes a database, which is filled by SQL with a few models that have very many versions and many that have some.
Both servers get a copy: Lockgate with authentication and a policy in force, the stock server as it comes. Of each work
the answers of both are compared first. Then rounds of the two take turns, with eight connections that stay open; told
is the round of each that answered most calls, as whatever else a machine has to do makes a round slower, never faster.
Last, one connection calls servers with several workers.

With several sizes, the searches of versions are measured in each, and all else in the last. `--full` has the sizes that
the goals are about. `--write` puts the table into docs/performance.md. It ends with 1 if answers differ.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import machine, table, wrk
from bench.clients import Call
from bench.databases import KINDS, Databases, databases
from bench.goals import Growth
from bench.pair import pair
from bench.population import Population
from bench.rounds import Rounds
from bench.seed import seeded
from bench.table import Grown, Row
from bench.works import Work, alone, deep_name, search_name, searches, works
from bench.wrk import Borne
from tests.house import Server, free_port

_SEVERAL = 2
# A client that can do so many times what is asked of it isn't in the way.
_ENOUGH = 3
_FULL = {"versions": [10_000, 100_000], "models": 10_000, "seconds": 10, "rounds": 3}


@dataclass(frozen=True)
class Section:
    """What was measured on a kind of database."""

    database: str
    rows: Sequence[Row]
    grown: Sequence[Grown]


def main() -> None:
    """Measure, and print a table."""
    chosen = _options()
    wrk.install()
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as folder:
        client = _client_alone(Path(folder), chosen.seconds)
        sections = [_section(kind, Path(folder), chosen) for kind in chosen.databases]
    rows = [row for section in sections for row in section.rows]
    if not rows:
        sys.exit(f"No work has {chosen.only!r} in its name.")
    text = _text(sections, _of_client(client, rows), chosen.workers)
    print(f"\n{text}")
    if chosen.write:
        table.put(text)
    if wrong := [f"{row.name}: {row.differs}" for row in rows if row.differs]:
        sys.exit("The answers differ.\n" + "\n".join(wrong))


def _section(kind: str, folder: Path, chosen: argparse.Namespace) -> Section:
    (folder / kind).mkdir()
    sizes = [Population(versions, chosen.models) for versions in sorted(chosen.versions)]
    with databases(kind, folder / kind) as made:
        rounds = Rounds(chosen.rounds, chosen.seconds, made.process)
        rows = Bench(made, folder / kind, chosen.workers, rounds, chosen.only).measured(sizes)
        return Section(made.version, rows, _grown(sizes, rows))


def _text(sections: Sequence[Section], of_client: str, workers: int) -> str:
    parts = [f"{machine.described([section.database for section in sections])}.", of_client]
    for section in sections:
        parts += [f"### {section.database}, workers: {workers}", table.rows(section.rows)]
        parts += [table.grown(section.grown)] if section.grown else []
    return "\n\n".join(parts)


@dataclass(frozen=True)
class Bench:
    """What is measured where."""

    databases: Databases
    folder: Path
    workers: int
    rounds: Rounds
    only: str

    def measured(self, sizes: Sequence[Population]) -> list[Row]:
        """Measure on databases of some sizes, the smallest first."""
        return [row for size in sizes for row in self._of(size, of_all=size is sizes[-1])]

    def _of(self, size: Population, of_all: bool) -> list[Row]:
        folder = self.folder / f"of-{size.versions}"
        folder.mkdir()
        begun = time.perf_counter()
        uri = seeded(self.databases, size, folder)
        took = time.perf_counter() - begun
        _say(f"{self.databases.kind}: {size.versions:,} versions of {size.models:,} models made in {took:.0f} s")
        chosen = works(size, self.databases.kind) if of_all else searches(size)
        rows = self._rows(uri, folder / "few", self.workers, chosen)
        if of_all:
            rows += self._rows(uri, folder / "several", _SEVERAL, [alone(size, _SEVERAL)])
        return rows

    def _rows(self, seeded: str, folder: Path, workers: int, chosen: Sequence[Work]) -> list[Row]:
        wanted = [work for work in chosen if self.only in work.name]
        if not wanted:
            return []
        rows = []
        with pair(self.databases, seeded, folder, workers) as servers:
            for work in wanted:
                row = self.rounds.row(servers, work)
                _say(table.line(row))
                rows.append(row)
        return rows


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--versions", type=int, nargs="+", default=[10_000], help="how many there are, in all")
    options.add_argument("--models", type=int, default=1_000, help="how many there are besides those with very many")
    options.add_argument("--databases", nargs="+", choices=KINDS, default=KINDS)
    options.add_argument("--workers", type=int, default=1, help="processes of each server")
    options.add_argument("--rounds", type=int, default=2, help="how often each work is measured")
    options.add_argument("--seconds", type=int, default=2, help="how long a round takes; longer if few calls end")
    options.add_argument("--only", default="", help="works whose names have this in them")
    options.add_argument("--full", action="store_true", help="in the sizes that the goals are about")
    options.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    first, _ = options.parse_known_args()
    if first.full:
        options.set_defaults(**_FULL)
    return options.parse_args()


def _client_alone(folder: Path, seconds: int) -> Borne:
    """Measure the client on a server that does nothing."""
    port = free_port()
    with _running(Server([sys.executable, "-m", "bench.nothing", str(port)], folder, port)) as nothing:
        return wrk.load(nothing.uri, "none", [Call("/api/2.0/mlflow/registered-models/alias", None)], seconds)


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _of_client(alone: Borne, rows: Sequence[Row]) -> str:
    most = max((cost.borne for row in rows for cost in (row.stock, row.lockgate)), key=lambda borne: borne.rate)
    times, share = alone.rate / most.rate, most.client / most.seconds
    said = (
        f"The client, wrk, sent {alone.rate:,.0f} calls a second to a server that does nothing: {times:.1f} times the "
        f"most that was measured, {most.rate:,.0f}, at which it took {share:.0%} of a processor."
    )
    return said if times >= _ENOUGH else f"{said} It may have been in the way: that is less than {_ENOUGH} times."


def _grown(sizes: Sequence[Population], rows: Sequence[Row]) -> list[Grown]:
    named = {row.name: row.lockgate for row in rows}
    least, most = sizes[0], sizes[-1]
    pairs = [
        (Growth(f"{deep_name(most.depths[-1])}, beside {most.depths[0]:,}", 2),
         deep_name(most.depths[0]), deep_name(most.depths[-1])),
        *((Growth(f"{search_name(by, most)}, beside {least.versions:,}", 1.5),
           search_name(by, least), search_name(by, most)) for by in ("run", "tag")),
    ]  # fmt: skip
    return [
        Grown(growth, named[little], named[much])
        for growth, little, much in pairs
        if little != much and little in named and much in named
    ]


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
