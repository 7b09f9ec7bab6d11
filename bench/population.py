"""What is in the database that servers are compared on: always the same for the same size.

A few models with very many versions, and many models that share the others. Each version comes from a run of its own,
with metrics, parameters and tags.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

#: How many versions the models have that are asked for by their number of versions.
DEPTHS = (10, 1_000, 10_000)
#: How many models a team has.
TEAM = 100
_BEGIN = 1_760_000_000_000
_SECOND = 1_000


@dataclass(frozen=True)
class Version:
    """A version: the how many-th of all, its model's name and its number there; how many that model has."""

    index: int
    model: str
    number: int
    siblings: int

    @property
    def stage(self) -> str:
        """Return its stage: one serves, those before it did so once, those after it are new."""
        serving = serving_of(self.siblings)
        return "Production" if self.number == serving else "Archived" if self.number < serving else "None"


@dataclass(frozen=True)
class Rows:
    """Rows of a table."""

    table: str
    columns: Sequence[str]
    values: Iterator[Sequence[Any]]


@dataclass(frozen=True)
class Population:
    """How much there is."""

    versions: int
    models: int

    @property
    def depths(self) -> tuple[int, ...]:
        """Return how many versions the deep models have: of those that take up at most half of all versions."""
        found: list[int] = []
        for depth in DEPTHS:
            if sum(found) + depth <= self.versions // 2:
                found.append(depth)
        return tuple(found)

    @property
    def teams(self) -> int:
        """Return how many teams share the models."""
        return max(self.models // TEAM, 1)

    def model(self, number: int) -> str:
        """Return the name of one of the many models, whatever the number."""
        number %= self.models
        return f"{team(number % self.teams)}-model-{number}"

    def first(self, number: int) -> Version:
        """Return the first version of one of the many models, whatever the number."""
        number %= self.models
        return Version(sum(self.depths) + number, self.model(number), 1, self._siblings(number))

    def all(self) -> Iterator[Version]:
        """Yield all versions."""
        index = 0
        for depth in self.depths:
            for number in range(1, depth + 1):
                yield Version(index, deep(depth), number, depth)
                index += 1
        for which in range(self.versions - index):
            number = which % self.models
            yield Version(index + which, self.model(number), which // self.models + 1, self._siblings(number))

    def rows(self) -> Iterator[Rows]:
        """Yield the rows of MLflow's tables, in an order that foreign keys allow."""
        yield from self._registry()
        yield from self._runs()

    def _siblings(self, number: int) -> int:
        return len(range(number, self.versions - sum(self.depths), self.models))

    def _names(self) -> list[tuple[str, int]]:
        many = [(self.model(number), self._siblings(number)) for number in range(self.models)]
        return [(deep(depth), depth) for depth in self.depths] + many

    def _registry(self) -> Iterator[Rows]:
        names = self._names()
        yield Rows(
            "registered_models",
            ("name", "creation_time", "last_updated_time", "description"),
            ((name, _at(which), _at(which), f"Model {which}") for which, (name, _) in enumerate(names)),
        )
        yield Rows(
            "registered_model_tags",
            ("name", "key", "value"),
            ((self.model(number), "team", team(number % self.teams)) for number in range(self.models)),
        )
        yield Rows(
            "model_versions",
            (
                "name", "version", "creation_time", "last_updated_time", "description", "current_stage", "source",
                "run_id", "run_link", "status",
            ),
            (
                (one.model, one.number, _at(one.index), _at(one.index), "Trained nightly", one.stage, source_of(one),
                 run_of(one.index), "", "READY")
                for one in self.all()
            ),
        )  # fmt: skip
        yield Rows(
            "model_version_tags",
            ("name", "version", "key", "value"),
            ((one.model, one.number, "build", build_of(one.index)) for one in self.all()),
        )
        yield Rows(
            "registered_model_aliases",
            ("name", "alias", "version"),
            ((name, "champion", serving_of(siblings)) for name, siblings in names if siblings),
        )

    def _runs(self) -> Iterator[Rows]:
        runs = [(index, run_of(index)) for index in range(self.versions)]
        yield Rows(
            "runs",
            (
                "run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "status", "start_time",
                "end_time", "source_version", "lifecycle_stage", "artifact_uri", "experiment_id",
            ),
            (
                (run, f"run-{index}", "UNKNOWN", "", "", "bench", "FINISHED", _at(index), _at(index) + _SECOND, "",
                 "active", f"mlflow-artifacts:/0/{run}/artifacts", 0)
                for index, run in runs
            ),
        )  # fmt: skip
        for table in ("metrics", "latest_metrics"):
            yield Rows(
                table,
                ("key", "value", "timestamp", "step", "is_nan", "run_uuid"),
                (
                    (key, (index % 1_000) / 1_000, _at(index), 0, False, run)
                    for index, run in runs
                    for key in ("val_auc", "val_loss")
                ),
            )
        yield Rows(
            "params",
            ("key", "value", "run_uuid"),
            ((key, str(index % 10), run) for index, run in runs for key in ("depth", "trees")),
        )
        yield Rows(
            "tags",
            ("key", "value", "run_uuid"),
            (
                (key, value, run)
                for index, run in runs
                for key, value in (("mlflow.runName", f"run-{index}"), ("data_version", f"v{index // 1_000}"))
            ),
        )


def deep(depth: int) -> str:
    """Return the name of the model that has so many versions."""
    return f"deep-{depth}"


def team(number: int) -> str:
    """Return the name of a team."""
    return f"team-{number}"


def build_of(index: int) -> str:
    """Return the value of the tag `build` of a version, which no other has."""
    return f"build-{index}"


def run_of(index: int) -> str:
    """Return the id of a version's run."""
    return hashlib.sha256(f"run {index}".encode()).hexdigest()[:32]


def source_of(version: Version) -> str:
    """Return where a version's files are."""
    return f"mlflow-artifacts:/0/{run_of(version.index)}/artifacts/model"


def serving_of(siblings: int) -> int:
    """Return the number of the version that serves, of a model with so many."""
    return siblings // 2 + 1 if siblings > 1 else siblings


def _at(number: int) -> int:
    return _BEGIN + number * _SECOND
