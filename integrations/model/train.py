"""Train a small model, register it, and write what the next job has to know into a file: MODEL_NAME, MODEL_VERSION."""

import os
import sys
from pathlib import Path

import mlflow
from mlflow.models import infer_signature
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

NAME = os.environ.get("TRAIN_MODEL", "fraud-detector")


def main() -> None:
    """Train, log, register."""
    rows, labels = make_classification(n_samples=600, n_features=6, class_sep=1.5, random_state=7)
    train_rows, test_rows, train_labels, test_labels = train_test_split(rows, labels, random_state=7)
    with mlflow.start_run():
        mlflow.set_tags({"git_commit": os.environ.get("GIT_COMMIT_SHA", "unknown"), "data_version": "synthetic-7"})
        model = LogisticRegression().fit(train_rows, train_labels)
        scores = model.predict_proba(test_rows)[:, 1]
        mlflow.log_metric("val_auc", float(roc_auc_score(test_labels, scores)))
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(test_rows, model.predict(test_rows)),
            pip_requirements=["scikit-learn"],
        )
    version = mlflow.register_model(logged.model_uri, NAME)
    with Path(sys.argv[1]).open("a") as file:
        file.write(f"MODEL_NAME={version.name}\nMODEL_VERSION={version.version}\n")


if __name__ == "__main__":
    main()
