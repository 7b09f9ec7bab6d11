"""`lockgate evaluate` on the real server, with models that were really trained and logged."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests.house import NO_RULES, SCRIPTS, House

pytestmark = pytest.mark.long

MODEL = "irises"
PROGRESS = "Starting MLflow Incumbent: Fetching Loading Evaluating version 1 2 (alias:champion) of irises ..."
FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


@dataclass(frozen=True)
class Scene:
    """A model with a good version 1, a poor version 2, and a version 3 whose files are not what they should be."""

    house: House
    data: Path

    def evaluate(self, version: int, *options: str, model: str = MODEL, target: str = "virginica"):
        data = [] if "--data" in options else ["--data", str(self.data)]
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": self.house.uri,
            "MLFLOW_TRACKING_TOKEN": self.house.tokens["ci"],
        }
        return subprocess.run(
            [str(SCRIPTS / "lockgate"), "evaluate", model, str(version), *data, "--target", target, *options],
            env=environment, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip

    def checks(self) -> list[dict]:
        entries = self.house.call("admin", "GET", f"/audit?model={MODEL}&max_results=200")["entries"]
        return [entry for entry in entries if entry["action"] == "check.reported"]


def rows() -> pd.DataFrame:
    features, kind = load_iris(return_X_y=True)
    return pd.DataFrame(features, columns=FEATURES).assign(virginica=(kind == 2).astype(int))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[str], str]) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("evaluate")
    house = House(folder / "house", new_database("sqlite")).open()
    try:
        house.apply_policy(NO_RULES)
        data = rows()
        data.to_csv(folder / "holdout.csv", index=False)
        with house.acting_as("ada") as client:
            for strength, columns in ((10.0, FEATURES), (1e-6, FEATURES), (10.0, FEATURES)):
                with mlflow.start_run():
                    model = LogisticRegression(C=strength, max_iter=500).fit(data[columns], data["virginica"])
                    mlflow.sklearn.log_model(
                        model,
                        name="model",
                        registered_model_name=MODEL,
                        input_example=data[columns][:3],
                        # Else MLflow looks for them in a process of its own.
                        pip_requirements=["scikit-learn"],
                    )
            client.set_registered_model_alias(MODEL, "champion", "1")
        spoil(house, "3")
        yield Scene(house, folder / "holdout.csv")
    finally:
        house.close()


def spoil(house: House, version: str) -> None:
    """Make a version's files unloadable, where the server keeps them."""
    with house.acting_as("ada") as client:
        source = client.get_model_version(MODEL, version).source
    kept = [p for p in house.folder.glob("mlartifacts/**/MLmodel") if source.rpartition("/")[2] in str(p)]
    assert len(kept) == 1, source
    for file in kept[0].parent.glob("model.*"):
        file.write_bytes(b"not a model")


def test_a_candidate_that_holds_to_its_bounds(scene: Scene) -> None:
    experiments_before = count_runs(scene)
    done = scene.evaluate(
        1, "--against", "stage:Staging", "--min", "accuracy_score=0.9", "--max-drop", "roc_auc=0.01",
        "--url", "https://ci.example.com/jobs/7",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no incumbent holds stage:Staging" in done.stdout
    assert "Check 'evaluation' of irises version 1: success" in done.stdout
    assert "Loading version 1" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert count_runs(scene) == experiments_before
    reported = scene.checks()[0]["after"]
    assert (reported["status"], reported["url"]) == ("success", "https://ci.example.com/jobs/7")
    assert reported["metrics"]["candidate.accuracy_score"] > 0.9


def count_runs(scene: Scene) -> int:
    with scene.house.acting_as("ada") as client:
        return len(client.search_runs([found.experiment_id for found in client.search_experiments()]))


def test_a_drop_that_is_too_big(scene: Scene) -> None:
    done = scene.evaluate(2, "--max-drop", "accuracy_score=0.02", "--check", "no-regression", "--json")
    assert done.returncode == 1, done.stderr
    assert set(done.stderr.split()) <= set(PROGRESS.split())
    told = json.loads(done.stdout)
    assert (told["status"], told["incumbent"], told["model_type"]) == ("failure", "1", "classifier")
    assert told["bounds"][0]["outcome"] == "missed"
    assert "compared with version 1 (alias:champion) on holdout.csv (150 rows, digest " in told["summary"]
    assert told["dataset"]["digest"] in told["summary"]
    assert told["check"]["name"] == "no-regression"
    assert told["check"]["metrics"]["difference.accuracy_score"] < -0.02
    assert told["check"]["metrics"]["incumbent.version"] == 1


def test_parquet_and_a_dry_run_and_bounds_that_nobody_wrote(scene: Scene, tmp_path: Path) -> None:
    rows().to_parquet(tmp_path / "holdout.parquet")
    before = len(scene.checks())
    done = scene.evaluate(1, "--data", str(tmp_path / "holdout.parquet"), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "Nothing was demanded" in done.stdout
    assert "it holds alias:champion itself" in done.stdout
    assert "Not reported: success" in done.stdout
    assert len(scene.checks()) == before


def test_a_candidate_that_can_not_be_loaded(scene: Scene) -> None:
    done = scene.evaluate(3, "--min", "accuracy_score=0.1")
    assert done.returncode == 1
    assert "Version 3 failed on holdout.csv" in done.stdout
    assert "It could not be loaded" in done.stdout
    reported = scene.checks()[0]["after"]
    assert (reported["status"], reported["metrics"]) == ("failure", {"incumbent.version": 1})


def test_an_incumbent_that_can_not_be_loaded(scene: Scene) -> None:
    with scene.house.acting_as("ada") as client:
        client.set_registered_model_alias(MODEL, "broken", "3")
    done = scene.evaluate(1, "--against", "alias:broken", "--max-drop", "accuracy_score=0.1")
    assert done.returncode == 1
    assert "The incumbent, version 3 (alias:broken), failed: It could not be loaded" in done.stdout
    assert "can't be judged" in done.stdout


def test_a_candidate_that_ends_the_process(scene: Scene, tmp_path: Path) -> None:
    """Nor does it find the token, and what it prints stays out of the JSON."""
    code = tmp_path / "model.py"
    code.write_text(
        "import os, mlflow\n"
        "class Rude(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input, params=None):\n"
        "        os.write(1, b'noise')\n"
        "        os._exit(0 if 'MLFLOW_TRACKING_TOKEN' in os.environ else 7)\n"
        "mlflow.models.set_model(Rude())\n"
    )
    with scene.house.acting_as("ada"), mlflow.start_run():
        mlflow.pyfunc.log_model(name="model", python_model=str(code), registered_model_name="rude")
    done = scene.evaluate(1, "--json", model="rude")
    assert done.returncode == 1
    assert "Its process ended with exit code 7 and without a result." in json.loads(done.stdout)["summary"]


def test_wrong_usage_reports_nothing(scene: Scene, tmp_path: Path) -> None:
    before = len(scene.checks())
    no_such_column = scene.evaluate(1, target="kind")
    assert no_such_column.returncode == 2
    assert f"no column 'kind'. Its columns are: {', '.join([*FEATURES, 'virginica'])}." in no_such_column.stderr
    shutil.copy(scene.data, tmp_path / "holdout.txt")
    assert scene.evaluate(1, "--data", str(tmp_path / "holdout.txt")).returncode == 2
    assert scene.evaluate(1, "--min", "accuracy_score").returncode == 2
    assert scene.evaluate(1, "--against", "champion").returncode == 2
    assert len(scene.checks()) == before


def test_versions_and_models_that_are_not_there(scene: Scene) -> None:
    no_version = scene.evaluate(99)
    assert no_version.returncode == 1
    assert "99" in no_version.stderr
    no_model = scene.evaluate(1, "--json", model="tulips")
    assert no_model.returncode == 1
    assert json.loads(no_model.stdout)["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_help_is_quick_because_it_imports_no_mlflow() -> None:
    seen = subprocess.run(
        [str(SCRIPTS / "python"), "-X", "importtime", str(SCRIPTS / "lockgate"), "evaluate", "--help"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "--max-drop" in seen.stdout
    assert "lockgate.client.comparison" in seen.stderr
    assert not re.search(r"\| +(mlflow|pandas)\b", seen.stderr)
