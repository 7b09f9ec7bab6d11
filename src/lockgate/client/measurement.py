"""Evaluating one version in a process of its own: `python -m lockgate.client.measurement FOLDER DATA TARGET TYPE`.

A model is code. Here it finds no credentials of the registry in its environment, its noise goes nowhere but to stderr,
and a crash of it is a finding. Stdout says what is being done and what came of it, a JSON object a line.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
from mlflow.models import Model

from lockgate.client import dataset

_NO_EXPLAINERS = {"log_model_explainability": False, "log_explainer": False}

Tell = Callable[[dict[str, object]], None]


def measure(folder: Path, data: Path, target: str, model_type: str, tell: Tell) -> None:
    """Load a model from its folder, evaluate it, and tell how it went."""
    wanted = "loaded"
    try:
        tell({"doing": "loading"})
        model = mlflow.pyfunc.load_model(str(folder))
        wanted = "evaluated"
        tell({"doing": "evaluating"})
        labelled = dataset.with_label(dataset.read(data), target)
        result = mlflow.models.evaluate(
            model, labelled, model_type=model_type, evaluators="default", evaluator_config=_NO_EXPLAINERS
        )
        metrics = {name: float(value) for name, value in result.metrics.items()}
    except Exception as error:
        tell({"failure": f"It could not be {wanted}: {_cause(error)}"})
        raise
    tell({"metrics": metrics, "digest": labelled.digest})


def _cause(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _forget_identity(folder: Path) -> None:
    # MLflow would log to the logged model of that id, which the throw-away tracking store does not have.
    described = Model.load(str(folder))
    described.model_id = None
    described.save(str(folder / "MLmodel"))


def _take_stdout() -> Tell:
    """Keep stdout for ourselves: what anything else prints, below Python too, goes to stderr from now on."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(said: dict[str, object]) -> None:
        print(json.dumps(said), file=ours, flush=True)

    return tell


def main() -> None:
    """Evaluate what the arguments name."""
    folder, data, target, model_type = sys.argv[1:]
    tell = _take_stdout()
    _forget_identity(Path(folder))
    measure(Path(folder), Path(data), target, model_type, tell)


if __name__ == "__main__":
    main()
