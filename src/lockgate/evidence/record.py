"""The evidence about one model version, frozen."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from lockgate.canonical import canonical as canonical
from lockgate.evidence.manifest import Artifacts, Hashing

JsonMap = Mapping[str, Any]


NO_FILES = Artifacts(Hashing.HASHED)
#: Of evidence that was frozen before files were part of it.
NOT_LOOKED_AT = Artifacts(Hashing.UNVERIFIABLE, reason="nobody has looked at the files yet")


class Provenance(StrEnum):
    """Whether a version's files are those of the run that it names."""

    #: They lie where the run, or a logged model of the run, keeps its files.
    OWN = "own"
    #: They lie elsewhere: what the run logged says nothing about them.
    FOREIGN = "foreign"
    #: The version names no run that is known here.
    NO_RUN = "no run"


@dataclass(frozen=True)
class Dataset:
    """A dataset that the run had as input."""

    name: str
    digest: str
    context: str = ""


@dataclass(frozen=True)
class Evidence:
    """Everything that a decision about one version rests on."""

    number: int
    created_at: int
    source: str = ""
    run_id: str = ""
    description: str = ""
    version_tags: Mapping[str, str] = field(default_factory=dict)
    model_tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    datasets: tuple[Dataset, ...] = ()
    #: Facts of the run are evidence only if the files are its own.
    provenance: Provenance = Provenance.NO_RUN
    artifacts: Artifacts = NO_FILES
    #: Whether the `MLmodel` file could be read: `read`, `missing` or `unreadable`.
    model_file: str = "missing"
    #: The model signature as MLflow wrote it beside the model; None if it has none.
    signature: JsonMap | None = None
    has_input_example: bool = False
    #: Names of the principals that shaped the version, as Lockgate saw them.
    registrar: str = ""
    authors: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the canonical form, with its name in front."""
        return "sha256:" + hashlib.sha256(self._text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON can hold it."""
        return json.loads(self._text)  # type: ignore[no-any-return]

    @cached_property
    def _text(self) -> str:
        return canonical(asdict(self))

    @classmethod
    def from_json(cls, data: JsonMap) -> "Evidence":
        """Return the record that `to_json` wrote."""
        known = dict(data)
        known["datasets"] = tuple(Dataset(**dataset) for dataset in known["datasets"])
        known["authors"] = tuple(known["authors"])
        known["provenance"] = Provenance(known.get("provenance", Provenance.NO_RUN))
        known["artifacts"] = Artifacts.from_json(known["artifacts"]) if "artifacts" in known else NOT_LOOKED_AT
        known["metrics"] = {name: float(value) for name, value in known["metrics"].items()}
        return cls(**known)

    def changes_since(self, before: "Evidence") -> list[str]:
        """Name what differs from an earlier record, a phrase each: `metrics.val_auc was 0.9, is 0.8`."""
        of_fields = _differences("", _without_files(before), _without_files(self))
        return of_fields + self.artifacts.changes_since(before.artifacts)


def _without_files(evidence: Evidence) -> dict[str, Any]:
    return {name: value for name, value in evidence.to_json().items() if name != "artifacts"}


def _differences(path: str, before: Any, after: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(before.keys() | after.keys())
        return [
            difference
            for key in keys
            for difference in _differences(f"{path}.{key}".lstrip("."), before.get(key), after.get(key))
        ]
    if canonical(before) == canonical(after):  # As the digest sees it: 1 and true, 0.0 and -0.0 are not the same.
        return []
    if before is None:
        return [f"{path} is new: {_shown(after)}"]
    if after is None:
        return [f"{path} is gone, was {_shown(before)}"]
    return [f"{path} was {_shown(before)}, is {_shown(after)}"]


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
