"""A stock `mlflow server` and a Lockgate, each on a copy of the same database."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.databases import Databases
from bench.seed import as_stock
from tests.house import ONE_APPROVAL, House, Server, stock_server

_PATIENCE = 900


@dataclass(frozen=True)
class Side:
    """One of the two, and as whom it is called."""

    server: Server
    token: str | None

    @property
    def uri(self) -> str:
        """Where it is."""
        return self.server.uri

    @property
    def process(self) -> int:
        """The process that was started; it may have started others."""
        assert self.server.process is not None
        return self.server.process.pid


@dataclass(frozen=True)
class Pair:
    """The two."""

    stock: Side
    lockgate: Side


@contextmanager
def pair(databases: Databases, seeded: str, folder: Path, workers: int) -> Iterator[Pair]:
    """Start both.

    Args:
        databases: Where the copies are made.
        seeded: The URI of what is copied.
        folder: For what the servers keep in files.
        workers: How many processes serve, of each.
    """
    (folder / "stock").mkdir(parents=True)
    stock = stock_server(folder / "stock", as_stock(databases.copy(seeded)), workers)
    house = House(folder / "lockgate", databases.copy(seeded), "--workers", str(workers))
    # Its first start takes over all that is there.
    house.server.patience = _PATIENCE
    with closing(house):
        house.open()
        house.apply_policy(ONE_APPROVAL)
        try:
            stock.start()
            yield Pair(Side(stock, None), Side(house.server, house.tokens["ada"]))
        finally:
            stock.stop()
