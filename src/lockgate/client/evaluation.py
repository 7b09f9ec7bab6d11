"""Evaluating versions where this runs: finding, fetching and measuring them. Imports MLflow."""

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from lockgate.client.comparison import Measurement
from lockgate.client.dataset import Labelled
from lockgate.errors import LockgateError, NotFound
from lockgate.promotions.target import Target

#: What the model's process must not see, or must not follow.
_WITHHELD = (
    "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_REGISTRY_URI",
    "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_ACTIVE_MODEL_ID", "MLFLOW_WORKSPACE",
    "LOCKGATE_ADMIN_TOKEN", "LOCKGATE_SECRET_KEY",
)  # fmt: skip
_MAX_CAUSE = 500

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Incumbent:
    """The version that holds a target, if one does."""

    version: int | None
    targets: str


@dataclass(frozen=True)
class Task:
    """What a version is evaluated on, and as what."""

    data: Path
    target: str
    model_type: str
    expected: Labelled


class Evaluator:
    """Evaluates versions of a model.

    Args:
        uri: The server.
        model: The registered model's name.
        folder: Where files go that nobody needs afterwards.
        tell: Is told what is being done.
        noise: Where what models and MLflow print goes; None is nowhere.
    """

    def __init__(self, uri: str, model: str, folder: Path, tell: Tell, noise: IO[str] | None) -> None:
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
        logging.getLogger("mlflow").setLevel(logging.WARNING if noise else logging.CRITICAL)
        self._client = MlflowClient(uri, uri)
        self._model = model
        self._folder = folder
        self._tell = tell
        self._noise = noise

    def find_incumbent(self, version: int, against: tuple[Target, ...]) -> Incumbent:
        """Return who holds the first of some targets that is held, after making sure that the candidate is there.

        Raises:
            LockgateError: if there is no such version, or the server won't tell.
        """
        try:
            self._client.get_model_version(self._model, str(version))
            registered = self._client.get_registered_model(self._model)
        except MlflowException as error:
            kind = NotFound if error.error_code == NotFound.code else LockgateError
            raise kind(error.message) from None
        stages = {found.current_stage: found.version for found in registered.latest_versions}
        return incumbent_among(dict(registered.aliases), stages, against)

    def measure(self, version: int, task: Task) -> Measurement:
        """Fetch and evaluate a version."""
        try:
            self._tell(f"Fetching version {version} of {self._model} ...")
            folder = mlflow.artifacts.download_artifacts(
                artifact_uri=f"models:/{self._model}/{version}", dst_path=tempfile.mkdtemp(dir=self._folder)
            )
        except (MlflowException, OSError) as error:
            return Measurement(version, failure=_sentence(f"Its files could not be fetched: {error}"))
        return _read_result(version, task, *self._run(version, Path(folder), task))

    def _run(self, version: int, folder: Path, task: Task) -> tuple[dict[str, Any], int]:
        command = [sys.executable, "-P", "-m", "lockgate.client.measurement"]
        with subprocess.Popen(  # noqa: S603 - this Python, and arguments without a shell
            [*command, str(folder), str(task.data.resolve()), task.target, task.model_type],
            cwd=self._folder,
            env=_environment(os.environ, self._folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._noise or subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        ) as process:
            result: dict[str, Any] = {}
            for line in process.stdout or ():
                said = json.loads(line)
                if "doing" in said:
                    self._tell(f"{said['doing'].capitalize()} version {version} ...")
                else:
                    result = said
        return result, process.returncode


def incumbent_among(aliases: Mapping[str, str], stages: Mapping[str, str], against: tuple[Target, ...]) -> Incumbent:
    """Return who holds the first of some targets that is held."""
    for target in against:
        held = (aliases if target.kind == "alias" else stages).get(target.name)
        if held is not None:
            return Incumbent(int(held), str(target))
    return Incumbent(None, " or ".join(map(str, against)))


def _read_result(version: int, task: Task, result: Mapping[str, Any], code: int) -> Measurement:
    if "failure" in result:
        return Measurement(version, failure=_sentence(result["failure"]))
    if code != 0 or "metrics" not in result:
        end = f"signal {-code}" if code < 0 else f"exit code {code}"
        return Measurement(version, failure=f"Its process ended with {end} and without a result.")
    if result["digest"] != task.expected.digest:
        return Measurement(version, failure=f"It was given other data, of digest {result['digest']}: did they change?")
    return Measurement(version, result["metrics"])


def _sentence(text: str) -> str:
    """Return a text as one short line, without what the server does not take in a summary."""
    line = "".join(c if c.isprintable() else " " for c in text.strip().partition("\n")[0])
    return f"{line[:_MAX_CAUSE].rstrip('.')}."


def _environment(inherited: Mapping[str, str], folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in inherited.items() if name not in _WITHHELD}
    return {
        **kept,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/runs.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MPLBACKEND": "Agg",
    }
