"""`lockgate evaluate`: MLflow is imported when it runs, not when its help is asked for."""

import math
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from lockgate.cli.output import command, connect, say, show_json, table
from lockgate.client.comparison import Bound, Comparison, Kind, Measurement, Setting, compare
from lockgate.client.connection import DEFAULT_URI, Connection
from lockgate.errors import BadInput
from lockgate.promotions.target import Target

if TYPE_CHECKING:
    from lockgate.client.dataset import Labelled
    from lockgate.client.evaluation import Evaluator, Task

_MODEL_TYPES = ("classifier", "regressor", "question-answering", "text-summarization", "text", "retriever")
_USUAL_TARGETS = (Target("alias", "champion"), Target("stage", "Production"))


def _bounds(kind: Kind) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], tuple[Bound, ...]]:
    def read(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[Bound, ...]:
        return tuple(_bound(kind, value) for value in values)

    return read


def _bound(kind: Kind, text: str) -> Bound:
    metric, _, number = text.rpartition("=")
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if not metric or not math.isfinite(limit):
        raise click.BadParameter(f"{text!r} is not METRIC=NUMBER, such as accuracy_score=0.9")
    return Bound(kind, metric, limit)


def _against(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[Target, ...]:
    if value is None:
        return _USUAL_TARGETS
    try:
        return (Target.parse(value),)
    except BadInput as error:
        raise click.BadParameter(error.message) from None


def _bound_option(kind: Kind, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(f"--{kind}", multiple=True, metavar="METRIC=NUMBER", callback=_bounds(kind), help=text)


@dataclass(frozen=True)
class Order:
    """What is to be evaluated."""

    model: str
    version: int
    data: Path
    label: str
    against: tuple[Target, ...]
    model_type: str | None
    bounds: tuple[Bound, ...]


@dataclass(frozen=True)
class Finding:
    """What came of it."""

    dataset: "Labelled"
    model_type: str
    incumbent: Measurement | None
    candidate: Measurement
    comparison: Comparison


@click.command()
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rows to evaluate on: a file that ends in .csv or .parquet.",
)
@click.option("--target", "label", required=True, metavar="COLUMN", help="The column with the right answers.")
@click.option(
    "--against",
    metavar="TARGET",
    callback=_against,
    help="Whose holder is the incumbent. By default alias:champion if a version holds it, else stage:Production.",
)
@click.option("--model-type", type=click.Choice(_MODEL_TYPES), help="By default what the labels show, if they do.")
@click.option("--check", "name", default="evaluation", show_default=True, help="The check to report.")
@_bound_option(Kind.MIN, "The candidate reaches at least this. May be repeated, as the next ones.")
@_bound_option(Kind.MAX, "The candidate reaches at most this.")
@_bound_option(Kind.MAX_DROP, "The candidate is at most this much below the incumbent (higher is better).")
@_bound_option(Kind.MAX_RISE, "The candidate is at most this much above the incumbent (lower is better).")
@click.option("--url", help="Where to read more, such as the CI job's page.")
@click.option("--dry-run", is_flag=True, help="Evaluate, and report nothing.")
@click.option("--verbose", is_flag=True, help="Show on stderr what MLflow and the models print.")
@command
def evaluate(
    model: str,
    version: int,
    data: Path,
    label: str,
    against: tuple[Target, ...],
    model_type: str | None,
    name: str,
    min: tuple[Bound, ...],
    max: tuple[Bound, ...],
    max_drop: tuple[Bound, ...],
    max_rise: tuple[Bound, ...],
    url: str | None,
    dry_run: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Evaluate VERSION of MODEL beside the incumbent, here, and report how they compare as a check.

    Both are run where you are, by mlflow.models.evaluate: this needs the packages that the models need. Without a bound
    the check succeeds if both could be evaluated.

    \b
      lockgate evaluate fraud-detector 3 --data holdout.parquet --target is_fraud \\
        --min roc_auc=0.9 --max-drop roc_auc=0.005

    Exit codes: 0 the check succeeded, 1 it failed or the server refused, 2 wrong usage.
    """
    bounds = (*min, *max, *max_drop, *max_rise)
    server = connect()
    # Finds out in a second, rather than after an evaluation, that nobody is there or that the model is not.
    server.call("GET", f"/models/{quote(model, safe='')}/history")
    order = Order(model, version, data, label, against, model_type, bounds)
    found = _carry_out(order, verbose)
    check = None if dry_run else _report(server, order, name, url, found.comparison)
    if as_json:
        show_json(_as_json(order, found, check))
    else:
        _show(order, name, found, check)
    if found.comparison.status != "success":
        sys.exit(1)


def _carry_out(order: Order, verbose: bool) -> Finding:
    _tell("Starting MLflow ...")
    from lockgate.client import dataset, evaluation  # noqa: PLC0415 - MLflow takes seconds, and help must not

    try:
        rows = dataset.look_at(order.data, order.label)
    except dataset.UnusableData as error:
        raise click.UsageError(error.message) from None
    model_type = order.model_type or rows.model_type
    if model_type is None:
        raise click.UsageError(
            f"The labels in {order.label!r} leave open what predicts them: classes or quantities. "
            f"Say --model-type {' or '.join(_MODEL_TYPES[:2])}."
        )
    uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    with tempfile.TemporaryDirectory(prefix="lockgate-") as folder:
        evaluator = evaluation.Evaluator(uri, order.model, Path(folder), _tell, sys.stderr if verbose else None)
        holder = evaluator.find_incumbent(order.version, order.against)
        _tell(f"Incumbent: {f'version {holder.version}' if holder.version else 'none'} ({holder.targets})")
        task = evaluation.Task(order.data, order.label, model_type, rows)
        candidate = evaluator.measure(order.version, task)
        incumbent = _measure_incumbent(evaluator, holder.version, candidate, task)
    comparison = compare(candidate, incumbent, order.bounds, Setting(holder.targets, str(rows)))
    return Finding(rows, model_type, incumbent, candidate, comparison)


def _measure_incumbent(
    evaluator: "Evaluator", version: int | None, candidate: Measurement, task: "Task"
) -> Measurement | None:
    if version is None or version == candidate.version:
        return None if version is None else candidate
    if candidate.failure:
        return Measurement(version, failure="It was not evaluated.")
    return evaluator.measure(version, task)


def _tell(text: str) -> None:
    click.echo(text, err=True)


def _report(server: Connection, order: Order, name: str, url: str | None, comparison: Comparison) -> dict[str, Any]:
    body = {
        "model": order.model,
        "version": str(order.version),
        "name": name,
        "status": comparison.status,
        "summary": comparison.summary,
        "details_url": url,
        "metrics": comparison.metrics,
    }
    check: dict[str, Any] = server.call("POST", "/checks", body)
    return check


def _as_json(order: Order, found: Finding, check: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "model": order.model,
        "version": str(order.version),
        "incumbent": None if found.incumbent is None else str(found.incumbent.version),
        "status": found.comparison.status,
        "summary": found.comparison.summary,
        "model_type": found.model_type,
        "dataset": {"name": found.dataset.name, "rows": found.dataset.rows, "digest": found.dataset.digest},
        "metrics": found.comparison.metrics,
        "bounds": [
            {**asdict(judged.bound), "outcome": judged.outcome, "explanation": judged.explanation}
            for judged in found.comparison.judgements
        ],
        "check": check,
    }


def _show(order: Order, name: str, found: Finding, check: dict[str, Any] | None) -> None:
    numbers = found.comparison.metrics
    measured = [n.removeprefix("candidate.") for n in numbers if n.startswith("candidate.")]
    rows = ((m, *(_cell(numbers.get(f"{side}.{m}")) for side in ("candidate", "incumbent", "difference")))
            for m in measured)  # fmt: skip
    if measured:
        table(("METRIC", "CANDIDATE", "INCUMBENT", "DIFFERENCE"), rows, "")
        say("")
    say(found.comparison.summary)
    reported = "Not reported" if check is None else f"Check '{name}' of {order.model} version {order.version}"
    say(f"{reported}: {found.comparison.status}")


def _cell(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"
