"""The works that are measured: a row of the table each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from bench.clients import CLIENTS, Call
from bench.goals import Goal
from bench.population import Population, build_of, deep, run_of, source_of, team

_API = "/api/2.0/mlflow"
# Far from each other, so that those that are asked for one after the other lie on different pages of the database.
_STRIDE = 7_919
_MANY_VERSIONS, _MANY_MODELS, _DEEP = 100_000, 10_000, 10_000
_DEPTH_GOALS = {10: 20, 1_000: 100, 10_000: 300}
_ORDERS = ("creation_timestamp DESC", "creation_timestamp ASC", "name DESC")


@dataclass(frozen=True)
class Work:
    """Calls of a kind; each has a number, and those that change something differ for all numbers."""

    name: str
    call: Callable[[int], Call]
    goal: Goal | None = None
    connections: int = CLIENTS
    #: Whether they change something, at a time that can't be the same on two servers.
    changes: bool = False


def works(there: Population, kind: str) -> Sequence[Work]:
    """Return what is measured on a kind of database in which so much is: first what changes nothing."""
    return (
        *_lookups(there, kind),
        *_models(there),
        *searches(there),
        *_model_searches(there),
        *_runs(there),
        *_changes(there),
    )


def alone(there: Population, workers: int) -> Work:
    """Return what one connection does that stays open, with several workers."""
    calls = _alias(there)
    return Work(f"resolve an alias, one connection, {workers} workers", calls, Goal(under=5), connections=1)


def searches(there: Population) -> Sequence[Work]:
    """Return the searches of versions, whose time may not grow with all that is there."""
    goal = Goal(20) if there.versions >= _MANY_VERSIONS else None
    return (
        Work(search_name("run", there), lambda n: _versions(f"run_id = '{run_of(_far(n, there))}'"), goal),
        Work(search_name("tag", there), lambda n: _versions(f"tags.build = '{build_of(_far(n, there))}'"), goal),
        Work(
            f"ordered page of 100 of {there.versions:,} versions",
            lambda n: _get("model-versions/search", max_results=100, order_by=_ORDERS[n % len(_ORDERS)]),
            goal,
        ),
    )


def search_name(by: str, there: Population) -> str:
    """Return the name of the work that searches by a `run` or a `tag`."""
    return f"search {there.versions:,} versions by {by}"


def deep_name(depth: int) -> str:
    """Return the name of the work that gets a model with so many versions."""
    return f"get a model with {depth:,} versions"


def _lookups(there: Population, kind: str) -> Sequence[Work]:
    goal = Goal(15 if kind == "postgresql" else 25, share=0.1)
    return (
        Work("resolve an alias", _alias(there), goal),
        Work("get a version", lambda n: _get("model-versions/get", name=there.model(n * _STRIDE), version="1"), goal),
    )


def _models(there: Population) -> Sequence[Work]:
    deepest = there.depths[-1]
    latest = _get("registered-models/get-latest-versions", name=deep(deepest))
    goal = Goal(200) if deepest >= _DEEP else None
    return (
        *(Work(deep_name(depth), _always(_get("registered-models/get", name=deep(depth))), Goal(_DEPTH_GOALS[depth]))
          for depth in there.depths),
        Work(f"latest versions of {deepest:,}", _always(latest), goal),
    )  # fmt: skip


def _model_searches(there: Population) -> Sequence[Work]:
    goal = Goal(20) if there.models >= _MANY_MODELS else None
    search = "registered-models/search"
    return (
        Work("search models by tag", lambda n: _get(search, filter=f"tags.team = '{_team(there, n)}'"), goal),
        Work("search models by name", lambda n: _get(search, filter=f"name LIKE '{_team(there, n)}-%'"), goal),
    )


def _runs(there: Population) -> Sequence[Work]:
    def search(number: int) -> Call:
        found = f"metrics.val_auc > 0.{number % 9} and params.depth = '{number % 10}'"
        return Call(f"{_API}/runs/search", {"experiment_ids": ["0"], "filter": found, "max_results": 10})

    def metric(number: int) -> Call:
        run = run_of(_far(number, there))
        logged = {"run_id": run, "key": "live", "value": number / 7, "timestamp": number, "step": number}
        return Call(f"{_API}/runs/log-metric", logged)

    goal = Goal(0.9)
    return (
        Work("get a run", lambda n: _get("runs/get", run_id=run_of(_far(n, there))), goal),
        Work("search runs", search, goal),
        Work("log a metric", metric, goal, changes=True),
    )


def _changes(there: Population) -> Sequence[Work]:
    def create(number: int) -> Call:
        first = there.first(number)
        made = {"name": first.model, "source": source_of(first), "run_id": run_of(first.index)}
        return Call(f"{_API}/model-versions/create", made)

    def tag(number: int) -> Call:
        tagged = {"name": there.model(number), "version": "1", "key": "seen", "value": str(number)}
        return Call(f"{_API}/model-versions/set-tag", tagged)

    def transition(number: int) -> Call:
        # In turns, so that each archives the other.
        version = str(number // there.models % 2 + 1)
        moved = {"name": there.model(number), "version": version, "stage": "Staging", "archive_existing_versions": True}
        return Call(f"{_API}/model-versions/transition-stage", moved)

    goal = Goal(1)
    return (
        Work("create a version", create, goal, changes=True),
        Work("move to a stage, archiving", transition, goal, changes=True),
        # Last: which of its tags a version has by then differs, as the two servers do not do equally much.
        Work("set a version's tag", tag, goal, changes=True),
    )


def _alias(there: Population) -> Callable[[int], Call]:
    return lambda n: _get("registered-models/alias", name=there.model(n * _STRIDE), alias="champion")


def _versions(found: str) -> Call:
    return _get("model-versions/search", filter=found)


def _team(there: Population, number: int) -> str:
    return team(number % there.teams)


def _far(number: int, there: Population) -> int:
    return number * _STRIDE % there.versions


def _always(call: Call) -> Callable[[int], Call]:
    return lambda _: call


def _get(path: str, **query: Any) -> Call:
    return Call(f"{_API}/{path}?{urlencode(query)}", None)
