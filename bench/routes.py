"""What Lockgate adds to MLflow's own routes: each beside a stock MLflow server on the same PostgreSQL.

    python -m bench.routes [--calls 200] [--rounds 3] [--workers 4]

Starts a PostgreSQL, a real `lockgate server` and a stock `mlflow server` in a temporary folder, with the same models,
versions and runs in both. Each route is called by one client, which tells the latency, and by eight at once, which
tells how many calls a second are answered.

Rounds of the two take turns, each route by each server before the next. What is told is the best round of each, as
`timeit` does it: whatever else a machine has to do makes a round slower, never faster.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from bench.clients import CLIENTS, Call, Client, Load, at_once, load
from bench.postgres import Postgres, postgres
from tests.house import NO_RULES, House, stock_server

MODELS = 50
_API = "/api/2.0/mlflow"


@dataclass(frozen=True)
class Side:
    """A server with the things that are asked for in it."""

    uri: str
    token: str | None
    #: The run of each model's version.
    runs: Sequence[str]


@dataclass(frozen=True)
class Route:
    """A route of MLflow's, and the call of it that a number stands for."""

    name: str
    call: Callable[[Side, int], Call]


@dataclass(frozen=True)
class Round:
    """One round of one route on one server: with one client, and with eight."""

    alone: Load
    together: Load


def _get(path: str, **query: str) -> Call:
    return Call(f"{_API}/{path}?{urlencode(query)}", None)


def _run(side: Side, number: int) -> str:
    return side.runs[number % MODELS]


def _log_batch(side: Side, number: int) -> Call:
    metrics = [{"key": f"loss_{key}", "value": number / 7, "timestamp": number, "step": number} for key in range(5)]
    return Call(f"{_API}/runs/log-batch", {"run_id": _run(side, number), "metrics": metrics})


ROUTES = (
    Route("get by alias", lambda _, n: _get("registered-models/alias", name=f"model-{n % MODELS}", alias="champion")),
    Route("get model version", lambda _, n: _get("model-versions/get", name=f"model-{n % MODELS}", version="1")),
    Route("search models", lambda _, n: _get("registered-models/search", filter=f"name LIKE 'model-{n % 10}%'")),
    Route("get run", lambda side, n: _get("runs/get", run_id=_run(side, n))),
    Route("log batch", _log_batch),
    Route(
        "search runs",
        lambda _, n: Call(
            f"{_API}/runs/search",
            {"experiment_ids": ["0"], "filter": f"metrics.val_auc > 0.{n % 10}", "max_results": 10},
        ),
    ),
)


def main() -> None:
    """Measure, and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=200, help="calls of each route in a round, alone and together")
    options.add_argument("--rounds", type=int, default=3, help="how often each route is measured")
    options.add_argument("--workers", type=int, default=4, help="processes of each server; MLflow's own default")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as folder, ExitStack() as stack:
        database = stack.enter_context(postgres(Path(folder)))
        ours = _lockgate(stack, Path(folder), database, chosen.workers)
        stock = _stock(stack, Path(folder), database, chosen.workers)
        print(f"latencies in milliseconds of one client; calls a second of {CLIENTS}; each beside stock MLflow's")
        heads = ("p50", "stock", "added", "p99", "stock", "/s", "stock", "of stock")
        print(f"{'':20}" + "".join(f"{head:>10}" for head in heads))
        for route in ROUTES:
            rounds = [
                (_measure(route, ours, number, chosen.calls), _measure(route, stock, number, chosen.calls))
                for number in range(chosen.rounds)
            ]
            _print(route.name, [mine for mine, _ in rounds], [theirs for _, theirs in rounds])


def _lockgate(stack: ExitStack, folder: Path, database: Postgres, workers: int) -> Side:
    house = House(folder / "lockgate", database.new_database(), "--workers", str(workers))
    stack.enter_context(closing(house)).open()
    # What is measured is what every call bears; what a promotion costs, bench/promotions.py tells.
    house.apply_policy(NO_RULES)
    return _filled(house.uri, house.tokens["ada"])


def _stock(stack: ExitStack, folder: Path, database: Postgres, workers: int) -> Side:
    (folder / "stock").mkdir()
    backend = database.new_database().replace("postgresql:", "postgresql+psycopg2:")
    server = stock_server(folder / "stock", backend, workers)
    stack.callback(server.stop)
    server.start()
    return _filled(server.uri, None)


def _filled(uri: str, token: str | None) -> Side:
    """Make models with a version each, whose run has metrics, and an alias."""

    def fill(number: int) -> str:
        client, name = Client(uri, token), f"model-{number}"
        client.post(f"{_API}/registered-models/create", {"name": name})
        run: str = client.post(f"{_API}/runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
        metrics = [{"key": key, "value": 0.9, "timestamp": 1, "step": 0} for key in ("val_auc", "val_f1", "val_loss")]
        params = [{"key": f"param_{which}", "value": str(which)} for which in range(10)]
        client.post(f"{_API}/runs/log-batch", {"run_id": run, "metrics": metrics, "params": params})
        source = f"mlflow-artifacts:/0/{run}/artifacts/model"
        client.post(f"{_API}/model-versions/create", {"name": name, "source": source, "run_id": run})
        client.post(f"{_API}/registered-models/alias", {"name": name, "alias": "champion", "version": "1"})
        return run

    return Side(uri, token, at_once(fill, MODELS))


def _measure(route: Route, side: Side, number: int, calls: int) -> Round:
    made = [route.call(side, number * 2 * calls + which) for which in range(2 * calls)]
    return Round(load(side.uri, side.token, made[:calls], clients=1), load(side.uri, side.token, made[calls:]))


def _print(name: str, ours: Sequence[Round], stock: Sequence[Round]) -> None:
    def best(rounds: Sequence[Round], share: float) -> float:
        return min(one.alone.latency(share) for one in rounds)

    p50, stock_p50 = best(ours, 0.5), best(stock, 0.5)
    rate, stock_rate = (max(one.together.rate for one in rounds) for rounds in (ours, stock))
    shown = [f"{value:.1f}" for value in (p50, stock_p50, p50 - stock_p50, best(ours, 0.99), best(stock, 0.99))]
    shown += [f"{rate:.0f}", f"{stock_rate:.0f}", f"{rate / stock_rate:.0%}"]
    print(f"{name:20}" + "".join(f"{cell:>10}" for cell in shown))


if __name__ == "__main__":
    main()
