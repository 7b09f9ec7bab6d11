"""`lockgate report`."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from lockgate.cli.export import all_pages, export, export_options, form_asked_for, numbers
from lockgate.cli.output import at, command, connect, say, table

_HOLDERS = ("TARGET", "VERSION", "SINCE", "HOW", "BY", "APPROVED BY")
_VERSIONS = ("VERSION", "STAGE", "ALIASES", "CREATED", "RUN", "METRICS", "DESCRIPTION")


@click.command()
@click.argument("model")
@export_options
@command
def report(model: str, form: str, out: Path | None, as_json: bool) -> None:
    """Report on MODEL: its versions by stage, each with its run's metrics; who holds what, and who approved it."""
    form = form_asked_for(form, as_json, out)
    server, path = connect(), f"/models/{quote(model, safe='')}/report"
    found = all_pages(lambda token: server.call("GET", path, page_token=token))
    if form != "table":
        export(found, form, out)
        return
    counted = ", ".join(f"{count} in {stage}" for stage, count in found["by_stage"].items())
    say(f"{model}: {found['total_versions']} version{'' if found['total_versions'] == 1 else 's'}")
    if counted:
        say(f"By stage: {counted}")
    say("")
    table(_HOLDERS, map(_holder, found["holders"]), "No target holds a version.")
    say("")
    table(_VERSIONS, map(_version, found["versions"]), "There is no version yet.")


def _holder(held: dict[str, Any]) -> tuple[Any, ...]:
    approved = ", ".join(held["approved_by"])
    return (held["target"], held["version"], at(held["from"]), held["how"], held["by"], approved)


def _version(one: dict[str, Any]) -> tuple[Any, ...]:
    metrics = numbers(one["metrics"]) + (" (and more)" if "metrics" in one["cut"] else "")
    aliases = " ".join(one["aliases"])
    return (one["version"], one["stage"], aliases, at(one["created"]), one["run_id"], metrics, one["description"])
