"""The parameters that versions are looked for by: `run_tag.data_version=v7`, `metric.val_auc>=0.9`, `stage=Production`.

Names that hold keys of somebody's choosing can't be declared one by one, so they are read here; what is not known is
refused.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from mlflow.entities.model_registry.model_version_stages import ALL_STAGES

from lockgate.errors import BadInput
from lockgate.registry.each import Keys
from lockgate.registry.lineage import Between, Wanted
from lockgate.registry.run_facts import Asked
from lockgate.workflow.lineage import Shown

#: Each condition is a search of its own.
MAX_CONDITIONS = 20
#: What each version can be shown with.
KINDS = ("metrics", "params", "run_tags", "tags", "datasets")
#: Parameters that are no conditions.
BESIDE = ("show", "page_token", "max_results")

_BY_KEY = ("run_tag", "run_param", "tag")
_PLAIN = ("run_id", "dataset_name", "dataset_digest", "model", "stage", "alias")
_ALL = (
    "run_tag.KEY=VALUE, run_param.KEY=VALUE, metric.KEY>=NUMBER, metric.KEY<=NUMBER, tag.KEY=VALUE (of the version), "
    f"{', '.join(_PLAIN)}"
)
_STAGES: Mapping[str, str] = {stage.lower(): stage for stage in ALL_STAGES}

#: What the OpenAPI document says of them.
PARAMETERS: list[dict[str, Any]] = [
    {"name": name, "in": "query", "required": False, "description": description, "schema": {"type": "string"}}
    for name, description in (
        ("run_tag.KEY", "Versions whose run has the tag KEY with this value."),
        ("run_param.KEY", "Versions whose run has the param KEY with this value."),
        ("metric.KEY>", "Written `metric.KEY>=NUMBER`: the last value of the run's metric KEY is at least this."),
        ("metric.KEY<", "Written `metric.KEY<=NUMBER`: the last value of the run's metric KEY is at most this."),
        ("tag.KEY", "Versions that have the tag KEY with this value themselves."),
        ("run_id", "Versions of this run."),
        ("dataset_name", "Versions whose run read a dataset of this name."),
        ("dataset_digest", "Versions whose run read a dataset with this digest."),
        ("model", "Versions of this model."),
        ("stage", "Versions in this stage."),
        ("alias", "Versions with this alias."),
        ("show", f"What else to tell of each version, with commas: {', '.join(KINDS)}."),
    )
]


def conditions_of(parameters: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the parameters of a call that are conditions, in an order that does not depend on how they came."""
    return sorted((name, value) for name, value in parameters if name not in BESIDE)


def read_conditions(given: Iterable[tuple[str, str]]) -> Wanted:
    """Return what versions are looked for by.

    Args:
        given: Names and values, as `conditions_of` returns them.

    Raises:
        BadInput: if there is none, one twice, or one that is not known.
    """
    by_key: dict[str, dict[str, str]] = {kind: {} for kind in _BY_KEY}
    metrics: dict[str, Between] = {}
    plain: dict[str, str] = {}
    conditions = list(given)
    if not conditions:
        raise BadInput(f"Name at least one condition. There are: {_ALL}.")
    if len(conditions) > MAX_CONDITIONS:
        raise BadInput(f"These are {len(conditions)} conditions; {MAX_CONDITIONS} are taken at most.")
    if len({name for name, _ in conditions}) < len(conditions):
        raise BadInput("A condition was given twice, and all must hold. Ask once for each of its values.")
    for name, value in conditions:
        kind, _, key = name.partition(".")
        if kind in _BY_KEY and key:
            by_key[kind][key] = value
        elif kind == "metric" and key:
            _bound(metrics, key, value)
        elif name in _PLAIN:
            plain[name] = _stage(value) if name == "stage" else _given(name, value)
        else:
            raise BadInput(f"{name[:300]!r} is no condition. There are: {_ALL}.")
    return Wanted(
        run_tags=by_key["run_tag"],
        run_params=by_key["run_param"],
        tags=by_key["tag"],
        metrics=metrics,
        dataset_name=plain.get("dataset_name"),
        dataset_digest=plain.get("dataset_digest"),
        run_id=plain.get("run_id"),
        model=plain.get("model"),
        stage=plain.get("stage"),
        alias=plain.get("alias"),
    )


def _bound(bounds: dict[str, Between], name: str, value: str) -> None:
    """Note a metric's bound: in `metric.KEY>=0.9` all before the first `=` is the name."""
    key, sign = name[:-1], name[-1]
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if sign not in "<>" or not key or not math.isfinite(number):
        raise BadInput(
            f"'metric.{name[:300]}={value[:300]}' is no bound. Write metric.KEY>=NUMBER or metric.KEY<=NUMBER, such as "
            "metric.val_auc>=0.9 (> is %3E in a URL)."
        )
    known = bounds.get(key, Between())
    bounds[key] = Between(number, known.at_most) if sign == ">" else Between(known.at_least, number)


def _stage(value: str) -> str:
    if value.lower() not in _STAGES:
        raise BadInput(f"{value[:300]!r} is no stage. The stages are: {', '.join(ALL_STAGES)}.")
    return _STAGES[value.lower()]


def _given(name: str, value: str) -> str:
    if not value:
        raise BadInput(f"{name} is empty. Leave it out, or say which.")
    return value


def shown_with(show: str, wanted: Wanted) -> Shown:
    """Return what each version is shown with: what was asked for, and what it was found by.

    Args:
        show: Kinds of facts, with commas.
        wanted: The conditions.

    Raises:
        BadInput: if a kind is not known.
    """
    kinds = {kind.strip() for kind in show.split(",")} - {""}
    unknown = sorted(kinds - set(KINDS))
    if unknown:
        raise BadInput(f"{unknown[0][:300]!r} can't be shown. There are: {', '.join(KINDS)}.")

    def keys(kind: str, found_by: Mapping[str, Any]) -> Keys:
        return Keys(frozenset(found_by), kind in kinds)

    by_dataset = wanted.dataset_name is not None or wanted.dataset_digest is not None
    asked = Asked(
        metrics=keys("metrics", wanted.metrics),
        params=keys("params", wanted.run_params),
        tags=keys("run_tags", wanted.run_tags),
        datasets="datasets" in kinds or by_dataset,
    )
    return Shown(asked, keys("tags", wanted.tags))
