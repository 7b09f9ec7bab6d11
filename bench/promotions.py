"""How many promotions a second a server carries out on PostgreSQL, and what one of them costs.

    python -m bench.promotions [--promotions 200] [--rounds 3] [--workers 4] [--statements]

Starts a PostgreSQL and a real `lockgate server` in a temporary folder, asks for promotions and approves them, and then
lets eight clients carry them out, each on models of its own: through our route, and by setting the alias through
MLflow's. A stock MLflow server on the same PostgreSQL is measured setting aliases, without any gate.

Rounds of the three take turns. What is told is the best round of each, as `timeit` does it: whatever else a machine has
to do makes a round slower, never faster. The rates of all rounds are told beside it.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from bench.clients import CLIENTS, Call, Client, Load, at_once, load
from bench.postgres import Postgres, postgres
from bench.processes import processor_seconds
from tests.house import House, Server, stock_server
from tests.statements import statements

TARGET = "alias:champion"
POLICY = """\
version: 1
rules:
  - name: production
    models: "*"
    targets: [stage:Production, alias:champion]
    gates:
      - name: good enough
        expr: metrics.val_auc >= 0.8
    approvals: {required: 1, from: [group:senior]}
"""
MODEL_FILE = """\
artifact_path: model
flavors:
  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}
signature:
  inputs: '[{"type": "double", "name": "x"}]'
  outputs: '[{"type": "long"}]'
"""
_ALIAS = "/api/2.0/mlflow/registered-models/alias"
# Of which the median is told: a server has things of its own to do now and then.
_COUNTED = 5


@dataclass(frozen=True)
class Measured:
    """What calls came to, and what each cost: milliseconds of a processor."""

    what: str
    load: Load
    server: float
    database: float
    client: float
    statements: int


def main() -> None:
    """Measure, and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--promotions", type=int, default=200, help="how many of each kind are measured in a round")
    options.add_argument("--rounds", type=int, default=3, help="how often each kind is measured")
    options.add_argument("--workers", type=int, default=4, help="processes of each server; MLflow's own default")
    options.add_argument("--statements", action="store_true", help="show the statements of one promotion")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as folder, ExitStack() as stack:
        database = stack.enter_context(postgres(Path(folder)))
        bench = Bench(Path(folder), database, chosen.promotions, chosen.rounds, chosen.workers)
        measured = bench.measured(stack, chosen.statements)
    _print(measured)


class Bench:
    """The servers, and what is measured on them."""

    def __init__(self, folder: Path, database: Postgres, promotions: int, rounds: int, workers: int) -> None:
        self._folder = folder
        self._database = database
        self._promotions = promotions + _COUNTED
        self._rounds = rounds
        self._workers = workers

    def measured(self, stack: ExitStack, show: bool) -> list[list[Measured]]:
        """Measure promotions through our route and through MLflow's, and a stock server; return the rounds of each."""
        house, prepared = self._lockgate(stack)
        stock = self._stock(stack)
        bot = house.tokens["bot"]
        ours, theirs, stocks = [], [], []
        versions = count(2)
        for number in range(self._rounds):
            # Not asked for earlier: a promotion ends the other requests for its target.
            calls = prepared.ours(str(next(versions)))
            ours.append(self._measure("lockgate: promote", house.server, bot, calls, show and number == 0))
            calls = prepared.theirs(str(next(versions)))
            theirs.append(self._measure("lockgate: set alias", house.server, bot, calls, False))
            calls = self._stock_calls("2" if number % 2 == 0 else "1")
            stocks.append(self._measure("stock MLflow: set alias", stock, None, calls, False))
        return [ours, theirs, stocks]

    def _lockgate(self, stack: ExitStack) -> tuple[House, "Prepared"]:
        """Start Lockgate, with models whose first versions are promoted."""
        house = House(self._folder / "lockgate", self._database.new_database(), "--workers", str(self._workers))
        stack.enter_context(closing(house)).open()
        house.apply_policy(POLICY)
        prepared = Prepared(house, self._promotions, versions=1 + 2 * self._rounds)
        load(house.uri, house.tokens["bot"], prepared.ours("1"))
        return house, prepared

    def _stock(self, stack: ExitStack) -> Server:
        """Start a stock server, with models whose aliases are set."""
        folder = self._folder / "stock"
        folder.mkdir()
        backend = self._database.new_database().replace("postgresql:", "postgresql+psycopg2:")
        server = stock_server(folder, backend, self._workers)
        stack.callback(server.stop)
        server.start()
        at_once(lambda number: _register(server.uri, None, f"model-{number}", 2), self._promotions)
        load(server.uri, None, self._stock_calls("1"))
        return server

    def _stock_calls(self, version: str) -> list[Call]:
        return [Call(_ALIAS, _alias(f"model-{number}", version)) for number in range(self._promotions)]

    def _measure(self, what: str, server: Server, token: str | None, calls: list[Call], show: bool) -> Measured:
        counted, loaded = calls[:_COUNTED], calls[_COUNTED:]
        statements = sorted((self._statements(server, token, call) for call in counted), key=len)
        if show:
            print("\n".join(statements[len(statements) // 2]))
        assert server.process is not None
        spent = (_spent(server.process.pid), _spent(self._database.process), time.process_time)
        before = [clock() for clock in spent]
        borne = load(server.uri, token, loaded)
        costs = [(clock() - was) / len(loaded) * 1000 for clock, was in zip(spent, before, strict=True)]
        return Measured(what, borne, *costs, len(statements[len(statements) // 2]))

    def _statements(self, server: Server, token: str | None, call: Call) -> list[str]:
        with statements(self._database.uri) as told:
            Client(server.uri, token).post(call.path, call.body)
        return told


class Prepared:
    """Models with some versions each; each version has a request that was approved when its turn comes."""

    def __init__(self, house: House, number: int, versions: int) -> None:
        self._house = house
        self._versions = versions
        self._names = [f"model-{number}" for number in range(number)]
        at_once(lambda which: self._version_files(self._names[which]), number)

    def ours(self, version: str) -> list[Call]:
        """Return the calls of our route that promote a version of each model."""
        return [Call(f"/api/lockgate/v1/requests/{request}/promote", {}) for request in self._approved(version)]

    def theirs(self, version: str) -> list[Call]:
        """Return the calls of MLflow's own route that do the same."""
        self._approved(version)
        return [Call(_ALIAS, _alias(name, version)) for name in self._names]

    def _version_files(self, name: str) -> None:
        for run in _register(self._house.uri, self._house.tokens["ada"], name, self._versions):
            folder = self._house.folder / "mlartifacts" / "0" / run / "artifacts/model"
            folder.mkdir(parents=True)
            (folder / "MLmodel").write_text(MODEL_FILE)
            (folder / "model.pkl").write_bytes(run.encode() * 1000)

    def _approved(self, version: str) -> list[int]:
        people = threading.local()

        def as_(name: str) -> Client:
            if not hasattr(people, name):
                setattr(people, name, Client(self._house.uri, self._house.tokens[name]))
            client: Client = getattr(people, name)
            return client

        def approve(which: int) -> int:
            body = {"model": self._names[which], "version": version, "target": TARGET}
            request: int = as_("ada").post("/api/lockgate/v1/requests", body)["id"]
            as_("sue").post(f"/api/lockgate/v1/requests/{request}/approve", {})
            return request

        return at_once(approve, len(self._names))


def _register(uri: str, token: str | None, name: str, versions: int) -> list[str]:
    """Register a model with versions, each from a run with metrics, parameters and tags; return the runs."""
    client = Client(uri, token)
    client.post("/api/2.0/mlflow/registered-models/create", {"name": name})
    runs = []
    for _ in range(versions):
        run = client.post("/api/2.0/mlflow/runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
        client.post("/api/2.0/mlflow/runs/log-batch", {"run_id": run, **_logged()})
        source = f"mlflow-artifacts:/0/{run}/artifacts/model"
        client.post("/api/2.0/mlflow/model-versions/create", {"name": name, "source": source, "run_id": run})
        runs.append(run)
    return runs


def _logged() -> dict[str, Any]:
    metrics = {"val_auc": 0.91, "val_loss": 0.2, "train_auc": 0.95, "train_loss": 0.1, "val_f1": 0.8}
    return {
        "metrics": [{"key": key, "value": value, "timestamp": 1, "step": 0} for key, value in metrics.items()],
        "params": [{"key": f"param_{number}", "value": str(number)} for number in range(10)],
        "tags": [{"key": f"tag_{number}", "value": str(number)} for number in range(5)],
    }


def _alias(name: str, version: str) -> dict[str, str]:
    return {"name": name, "alias": "champion", "version": version}


def _spent(process: int) -> Callable[[], float]:
    return lambda: processor_seconds(process)


def _print(measured: list[list[Measured]]) -> None:
    best = [max(rounds, key=lambda one: one.load.rate) for rounds in measured]
    stock = best[-1].load.rate
    heads = ("/s", "of stock", "p50", "p95", "p99", "server", "database", "client", "statements", "rounds")
    print(f"{CLIENTS} clients; latencies and processor time of one call in milliseconds")
    print(f"{'':26}" + "".join(f"{head:>11}" for head in heads))
    for rounds, one in zip(measured, best, strict=True):
        latencies = [f"{one.load.latency(share):.0f}" for share in (0.5, 0.95, 0.99)]
        costs = [f"{cost:.1f}" for cost in (one.server, one.database, one.client)]
        shown = [f"{one.load.rate:.0f}", f"{one.load.rate / stock:.0%}", *latencies, *costs, str(one.statements)]
        rates = " ".join(f"{each.load.rate:.0f}" for each in rounds)
        print(f"{one.what:26}" + "".join(f"{cell:>11}" for cell in shown) + f"    {rates}")


if __name__ == "__main__":
    main()
