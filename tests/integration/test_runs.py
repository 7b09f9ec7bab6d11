"""The lean reading of a run says what MLflow's own `get_run` says."""

import math
from collections.abc import Callable

import pytest
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from lockgate.database.engine import real_uri
from lockgate.registry.runs import read_run
from tests.conftest import BACKENDS


@pytest.fixture(scope="module", params=BACKENDS)
def tracking(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> SqlAlchemyStore:
    return SqlAlchemyStore(real_uri(new_database(request.param)), str(tmp_path_factory.mktemp("artifacts")))


def new_run(tracking: SqlAlchemyStore) -> str:
    return str(tracking.create_run("0", "ada", 1, [RunTag("team", "risk")], "a run").info.run_id)


def dataset(name: str, *contexts: str) -> DatasetInput:
    tags = [InputTag("mlflow.data.context", context) for context in contexts]
    return DatasetInput(Dataset(name, f"digest-of-{name}", "local", "{}"), [InputTag("other", "said"), *tags])


def check_same(tracking: SqlAlchemyStore, run_id: str) -> None:
    theirs, ours = tracking.get_run(run_id), read_run(tracking, run_id)
    assert ours is not None
    assert (ours.id, ours.artifact_uri) == (run_id, theirs.info.artifact_uri)
    assert (ours.params, ours.tags) == (theirs.data.params, theirs.data.tags)
    assert repr(sorted(ours.metrics.items())) == repr(sorted(theirs.data.metrics.items()))
    inputs = {
        (one.dataset.name, one.dataset.digest, {tag.key: tag.value for tag in one.tags}.get("mlflow.data.context", ""))
        for one in theirs.inputs.dataset_inputs
    }
    assert [(one.name, one.digest, one.context) for one in ours.datasets] == sorted(inputs)


def test_a_run_with_everything(tracking: SqlAlchemyStore) -> None:
    run_id = new_run(tracking)
    values = {"auc": 0.1 + 0.2, "nan": math.nan, "inf": math.inf, "whole": 3.0}
    metrics = [Metric(name, value, 1, step) for name, value in values.items() for step in (0, 1)]
    tracking.log_batch(run_id, metrics, [Param("depth", "7"), Param("empty", "")], [RunTag("ü", "é")])
    tracking.log_inputs(run_id, [dataset("b", "evaluation"), dataset("a", "training"), dataset("c")])
    check_same(tracking, run_id)


def test_a_run_with_nothing_also_when_it_is_deleted(tracking: SqlAlchemyStore) -> None:
    run_id = new_run(tracking)
    check_same(tracking, run_id)
    tracking.delete_run(run_id)
    check_same(tracking, run_id)


def test_no_run(tracking: SqlAlchemyStore) -> None:
    assert read_run(tracking, None) is None
    assert read_run(tracking, "0" * 32) is None
