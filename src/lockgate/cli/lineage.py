"""`lockgate lineage`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lockgate.cli.export import all_pages, export, export_options, form_asked_for, numbers
from lockgate.cli.output import command, connect, table

_PAGE = 1_000
_KINDS = ("metrics", "params", "run_tags", "tags", "datasets")
Pairs = tuple[tuple[str, str], ...]


def _pairs(_ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Pairs:
    """Read KEY=VALUE; of a metric the sign before the `=` belongs to the server's name of it."""
    read = []
    for value in values:
        key, is_pair, wanted = value.partition("=")
        if not is_pair or not key:
            raise click.BadParameter(f"{value!r} is not {param.metavar}" if param.metavar else f"{value!r} is no pair")
        read.append((key, wanted))
    return tuple(read)


def _keyed(name: str, metavar: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(name, multiple=True, metavar=metavar, callback=_pairs, help=text)


@click.command()
@_keyed("--run-tag", "KEY=VALUE", "The run has this tag. May be repeated, like all that have a KEY.")
@_keyed("--run-param", "KEY=VALUE", "The run has this param.")
@_keyed("--metric", "KEY>=NUMBER", "The run's metric is at least (>=) or at most (<=) this. Put it in quotes.")
@_keyed("--tag", "KEY=VALUE", "The version itself has this tag.")
@click.option("--run-id", metavar="ID", help="It is of this run.")
@click.option("--dataset-name", metavar="NAME", help="The run read a dataset of this name.")
@click.option("--dataset-digest", metavar="DIGEST", help="The run read a dataset with this digest.")
@click.option("--model", help="It is of this model.")
@click.option("--stage", help="It is in this stage.")
@click.option("--alias", help="It has this alias.")
@click.option("--show", multiple=True, type=click.Choice(_KINDS), help="What else to tell of each. May be repeated.")
@export_options
@command
def lineage(
    run_tag: Pairs,
    run_param: Pairs,
    metric: Pairs,
    tag: Pairs,
    show: tuple[str, ...],
    form: str,
    out: Path | None,
    as_json: bool,
    **plain: str | None,
) -> None:
    """List the versions of which all conditions hold, with what they serve and what is asked for them.

    \b
    What was trained on a version of the data, and serves?
      lockgate lineage --run-tag data_version=v2024-01-15 --stage Production --show metrics
    """
    kinds = {"run_tag": run_tag, "run_param": run_param, "metric": metric, "tag": tag}
    wanted = {f"{kind}.{key}": value for kind, pairs in kinds.items() for key, value in pairs}
    if len(wanted) < sum(map(len, kinds.values())):
        raise click.UsageError("A condition was given twice, and all must hold. Ask once for each of its values.")
    if not wanted and not any(plain.values()):
        raise click.UsageError("Name at least one condition, such as --run-tag data_version=v7.")
    form = form_asked_for(form, as_json, out)
    asked: dict[str, Any] = {**wanted, **plain, "show": ",".join(show) or None, "max_results": _PAGE}
    server = connect()
    found = all_pages(lambda token: server.call("GET", "/lineage", **asked, page_token=token))
    if form != "table":
        export(found, form, out)
        return
    headings = ("MODEL", "VERSION", "STAGE", "ALIASES", "RUN", "WHAT IT SAYS", "REQUESTS")
    table(headings, map(_row, found["versions"]), "No version that you may see meets all of that.")


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    asked_for = " ".join(f"{request['id']} ({request['target']}, {request['state']})" for request in one["requests"])
    return (one["model"], one["version"], one["stage"], " ".join(one["aliases"]), one["run_id"], _said(one), asked_for)


def _said(one: dict[str, Any]) -> str:
    texts = [f"{key}={value}" for kind in ("run_tags", "params", "tags") for key, value in sorted(one[kind].items())]
    used = [f"{data['name']}@{data['digest']}" for data in one["datasets"]]
    more = [f"(more {', '.join(one['cut'])})"] if one["cut"] else []
    return " ".join(filter(None, [*texts, numbers(one["metrics"]), *used, *more]))
