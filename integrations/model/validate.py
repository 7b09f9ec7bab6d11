"""Load the version that is to be validated, as a server would, and see that it predicts."""

import os
import sys

import mlflow
from sklearn.datasets import make_classification
from sklearn.metrics import accuracy_score

LEAST_ACCURACY = 0.8


def main() -> None:
    """Load, predict, compare."""
    model = mlflow.pyfunc.load_model(f"models:/{os.environ['MODEL_NAME']}/{os.environ['MODEL_VERSION']}")
    rows, labels = make_classification(n_samples=600, n_features=6, class_sep=1.5, random_state=7)
    accuracy = accuracy_score(labels, model.predict(rows))
    print(f"accuracy {accuracy:.3f}")
    if accuracy < LEAST_ACCURACY:
        sys.exit(f"The accuracy is below {LEAST_ACCURACY}.")


if __name__ == "__main__":
    main()
