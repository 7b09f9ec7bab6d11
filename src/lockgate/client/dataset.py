"""The rows that versions are evaluated on. Imports MLflow and pandas."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.data
import pandas

from lockgate.errors import BadInput

_READERS = {".csv": pandas.read_csv, ".parquet": pandas.read_parquet}
SUFFIXES = tuple(_READERS)


class UnusableData(BadInput):
    """The file can't be evaluated on as it is: mend the file, or the call."""


@dataclass(frozen=True)
class Labelled:
    """Rows with a label.

    Args:
        name: The file's name.
        rows: How many there are.
        digest: MLflow's digest, as in the dataset inputs of runs.
        model_type: What the labels are for, if they leave no doubt.
    """

    name: str
    rows: int
    digest: str
    model_type: str | None

    def __str__(self) -> str:
        return f"{self.name} ({self.rows} rows, digest {self.digest})"


def look_at(file: Path, target: str) -> Labelled:
    """Read a file and see what it is good for.

    Raises:
        UnusableData: with what is wrong with it.
    """
    frame = read(file)
    if target not in frame.columns:
        there = ", ".join(str(column) for column in frame.columns)
        raise UnusableData(f"{file.name} has no column {target!r}. Its columns are: {there}.")
    if frame.empty:
        raise UnusableData(f"{file.name} has no rows.")
    without = int(frame[target].isna().sum())
    if without:
        raise UnusableData(f"{without} of {len(frame)} rows in {file.name} have no {target!r}. Leave them out.")
    return Labelled(file.name, len(frame), with_label(frame, target).digest, guessed_model_type(frame[target]))


def read(file: Path) -> Any:
    """Return the rows of a CSV or Parquet file, by its suffix.

    Raises:
        UnusableData: if it is neither, or can't be read as what it says it is.
    """
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise UnusableData(f"{file.name} is neither CSV nor Parquet: its name must end in {' or '.join(SUFFIXES)}.")
    try:
        return reader(file)
    except (ValueError, OSError) as error:
        raise UnusableData(f"{file.name} can't be read: {error}") from None


def with_label(frame: Any, target: str) -> Any:
    """Return the rows as a dataset of MLflow's."""
    return mlflow.data.from_pandas(frame, targets=target)


def guessed_model_type(labels: Any) -> str | None:
    """Return what predicts such labels; None if they may be classes as well as quantities, or texts."""
    kinds = labels.nunique()
    if not pandas.api.types.is_numeric_dtype(labels):
        return "classifier" if kinds <= max(2, len(labels) // 2) else None
    if kinds <= 2:
        return "classifier"
    return "regressor" if bool((labels % 1 != 0).any()) else None
