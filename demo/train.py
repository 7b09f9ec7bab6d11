"""Training, the way the article does it: log params, tags and metrics, then log and register the model in one call.

The data is scikit-learn's breast-cancer set, which stands in for the article's transactions: a malignant tumour is the
rare case to find, as a fraud is.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import mlflow
import mlflow.sklearn
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from sklearn.model_selection import train_test_split

MODEL = "payments-fraud-detector"


@dataclass(frozen=True)
class Recipe:
    """What a model is trained with."""

    name: str
    config: dict[str, int]
    rows: int
    data_version: str


UNDER_TRAINED = Recipe("one-question", {"n_estimators": 1, "max_depth": 1}, rows=12, data_version="v2024-01-15")
GOOD = Recipe("50-trees", {"n_estimators": 50, "max_depth": 4}, rows=200, data_version="v2024-01-15")
BETTER = Recipe("100-trees", {"n_estimators": 100, "max_depth": 8}, rows=398, data_version="v2024-02-15")


@dataclass(frozen=True)
class Trained:
    """A model version, and the model as it came out of training."""

    version: str
    run_id: str
    model: RandomForestClassifier
    metrics: dict[str, float]


@dataclass(frozen=True)
class Data:
    """Rows to train on and rows to judge by."""

    x_train: pd.DataFrame
    y_train: "pd.Series[int]"
    x_val: pd.DataFrame
    y_val: "pd.Series[int]"

    @classmethod
    def load(cls) -> "Data":
        """Load the data, always split in the same way."""
        x, benign = load_breast_cancer(return_X_y=True, as_frame=True)
        fraud = 1 - benign
        x_train, x_val, y_train, y_val = train_test_split(x, fraud, test_size=0.3, stratify=fraud, random_state=42)
        return cls(x_train, y_train, x_val, y_val)


def train_and_register(data: Data, recipe: Recipe) -> Trained:
    """Train a model and register it, as whoever the mlflow client is."""
    with mlflow.start_run(run_name=f"fraud-detector-{recipe.name}") as run:
        mlflow.log_params({**recipe.config, "train_rows": recipe.rows})
        mlflow.set_tags(
            {
                "team": "fraud-detection",
                "use_case": "transaction-fraud",
                "data_version": recipe.data_version,
                "git_commit": git_commit(),
            }
        )
        model = RandomForestClassifier(**recipe.config, random_state=42)
        model.fit(data.x_train[: recipe.rows], data.y_train[: recipe.rows])
        metrics = evaluate(model, data)
        mlflow.log_metrics(metrics)
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name=MODEL,  # registers it
            input_example=data.x_val[:5],  # documents what goes in: MLflow infers the signature from it
        )
    return Trained(str(logged.registered_model_version), run.info.run_id, model, metrics)


def evaluate(model: RandomForestClassifier, data: Data) -> dict[str, float]:
    """Return the article's metrics, on rows that the model has not seen."""
    scores = model.predict_proba(data.x_val)[:, 1]
    return {
        "val_auc": float(roc_auc_score(data.y_val, scores)),
        "val_f1": float(f1_score(data.y_val, (scores > 0.5).astype(int))),
        "val_ap": float(average_precision_score(data.y_val, scores)),
        "val_size": float(len(data.y_val)),
    }


def agreement(served: ArrayLike, expected: ArrayLike) -> float:
    """Return the share of predictions that are as expected."""
    return float(np.mean(np.asarray(served) == np.asarray(expected)))


def git_commit() -> str:
    """Return the commit that the training code is at; `unknown` outside a checkout."""
    told = os.environ.get("GIT_COMMIT_SHA")
    if told or shutil.which("git") is None:
        return told or "unknown"
    here = Path(__file__).parent
    asked = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=20, check=False
    )
    return asked.stdout.strip() or "unknown"
