"""The evidence about one model version, frozen."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

JsonMap = Mapping[str, Any]


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
    #: Whether the `MLmodel` file could be read: `read`, `missing` or `unreadable`.
    model_file: str = "missing"
    #: The model signature as MLflow wrote it beside the model; None if it has none.
    signature: JsonMap | None = None
    has_input_example: bool = False
    #: Names of the principals that shaped the version, as Lockgate saw them.
    registrar: str = ""
    authors: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical form, with its name in front."""
        return "sha256:" + hashlib.sha256(canonical(asdict(self)).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON can hold it."""
        return json.loads(canonical(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, data: JsonMap) -> "Evidence":
        """Return the record that `to_json` wrote."""
        known = dict(data)
        known["datasets"] = tuple(Dataset(**dataset) for dataset in known["datasets"])
        known["authors"] = tuple(known["authors"])
        known["metrics"] = {name: float(value) for name, value in known["metrics"].items()}
        return cls(**known)

    def changes_since(self, before: "Evidence") -> list[str]:
        """Name what differs from an earlier record, a phrase each: `metrics.val_auc was 0.9, is 0.8`."""
        return _differences("", json.loads(canonical(asdict(before))), json.loads(canonical(asdict(self))))


def canonical(value: Any) -> str:
    """Return JSON with sorted keys and no blanks; numbers that JSON lacks become strings."""
    return json.dumps(_finite(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _differences(path: str, before: Any, after: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(before.keys() | after.keys())
        return [
            difference
            for key in keys
            for difference in _differences(f"{path}.{key}".lstrip("."), before.get(key), after.get(key))
        ]
    if before == after:
        return []
    if before is None:
        return [f"{path} is new: {_shown(after)}"]
    if after is None:
        return [f"{path} is gone, was {_shown(before)}"]
    return [f"{path} was {_shown(before)}, is {_shown(after)}"]


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
