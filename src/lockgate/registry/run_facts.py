"""What many runs say of themselves, each as far as it is asked for: a statement for each kind of fact."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
from sqlalchemy import case, null, or_
from sqlalchemy.orm import Session

from lockgate.access.sight import Sight
from lockgate.registry.each import ALL_KEYS, NO_KEYS, Keys, Told, ToldOfEach, read_each, shortened
from lockgate.registry.mlflow_tables import datasets, inputs, latest_metrics, params, run_tags
from lockgate.registry.runs_seen import seen_among
from lockgate.registry.transaction import reading

#: What MLflow itself notes in a run's tags, much of it long: it is told only to who asks for it by name.
_MLFLOWS_OWN = "mlflow."


@dataclass(frozen=True)
class Asked:
    """Which facts are asked for."""

    metrics: Keys = NO_KEYS
    params: Keys = NO_KEYS
    tags: Keys = NO_KEYS
    datasets: bool = False


@dataclass(frozen=True)
class RunFacts:
    """What a run says of itself, as far as that was asked for."""

    #: None: the last value that was logged is not a number.
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    #: Names and digests.
    datasets: tuple[tuple[str, str], ...] = ()
    #: The kinds of which there is more.
    cut: tuple[str, ...] = ()


NOTHING = RunFacts()
_SILENT = Told([])


def read_facts(
    tracking: TrackingStore, run_ids: Collection[str], asked: Asked, sight: Sight | None
) -> dict[str, RunFacts]:
    """Return what runs say, by their ids; of one that may not be seen, nothing.

    Args:
        tracking: Has the runs.
        run_ids: The runs.
        asked: Which facts.
        sight: What may be seen; None is everything.
    """
    if asked == Asked() or not run_ids:
        return {}
    with reading(tracking.engine) as session:
        seen = seen_among(session, tracking, run_ids, sight)
        kinds = {
            "metrics": _metrics(session, seen, asked.metrics),
            "params": _params(session, seen, asked.params),
            "run_tags": _tags(session, seen, asked.tags),
            "datasets": _datasets(session, seen) if asked.datasets else {},
        }
    return {run_id: _facts({kind: said.get((run_id,), _SILENT) for kind, said in kinds.items()}) for run_id in seen}


def _facts(told: Mapping[str, Told]) -> RunFacts:
    return RunFacts(
        metrics=dict(told["metrics"].pairs),
        params=dict(told["params"].pairs),
        tags=dict(told["run_tags"].pairs),
        datasets=tuple(told["datasets"].pairs),
        cut=tuple(kind for kind, said in told.items() if said.cut),
    )


def _metrics(session: Session, run_ids: Collection[str], keys: Keys) -> ToldOfEach:
    said = latest_metrics.c
    number = case((said.is_nan, null()), else_=said.value)
    return read_each(session, latest_metrics, (said.run_uuid,), said.key, number, keys, [said.run_uuid.in_(run_ids)])


def _params(session: Session, run_ids: Collection[str], keys: Keys) -> ToldOfEach:
    said = params.c
    return read_each(
        session, params, (said.run_uuid,), said.key, shortened(said.value), keys, [said.run_uuid.in_(run_ids)]
    )


def _tags(session: Session, run_ids: Collection[str], keys: Keys) -> ToldOfEach:
    said = run_tags.c
    of_people = or_(~said.key.startswith(_MLFLOWS_OWN), said.key.in_(sorted(keys.named)))
    conditions = [said.run_uuid.in_(run_ids), of_people]
    return read_each(session, run_tags, (said.run_uuid,), said.key, shortened(said.value), keys, conditions)


def _datasets(session: Session, run_ids: Collection[str]) -> ToldOfEach:
    of = inputs.c.destination_id
    used = inputs.join(datasets, datasets.c.dataset_uuid == inputs.c.source_id)
    by_runs = [inputs.c.source_type == "DATASET", inputs.c.destination_type == "RUN", of.in_(run_ids)]
    return read_each(session, used, (of,), datasets.c.name, datasets.c.digest, ALL_KEYS, by_runs)
