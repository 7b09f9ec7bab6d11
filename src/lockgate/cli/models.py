"""`lockgate check`, `rollback` and `history`."""

from typing import Any
from urllib.parse import quote

import click

from lockgate.cli.output import command, connect, say, show_json, table
from lockgate.cli.waiting import call_when_hashed


def _metric(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    metrics = {}
    for value in values:
        name, _, number = value.partition("=")
        try:
            metrics[name] = float(number)
        except ValueError:
            raise click.BadParameter(f"{value!r} is not NAME=NUMBER") from None
    return metrics


metrics_option = click.option(
    "--metric", "metrics", multiple=True, metavar="NAME=NUMBER", callback=_metric, help="May be repeated."
)


@click.command()
@click.argument("model")
@click.argument("version")
@click.argument("name")
@click.option("--status", required=True, type=click.Choice(["success", "failure", "pending"]))
@click.option("--summary", help="What was found, for people.")
@click.option("--url", help="Where to read more.")
@click.option("--evidence", metavar="DIGEST", help="Digest of the evidence that was checked; no other is reported on.")
@metrics_option
@command
def check(
    model: str,
    version: str,
    name: str,
    status: str,
    summary: str | None,
    url: str | None,
    evidence: str | None,
    metrics: dict[str, float],
    as_json: bool,
) -> None:
    """Report check NAME for VERSION of MODEL; the newest report counts, for as long as the evidence stays as it is."""
    body = {
        "model": model,
        "version": version,
        "name": name,
        "status": status,
        "summary": summary,
        "details_url": url,
        "metrics": metrics,
        "evidence_digest": evidence,
    }
    reported = call_when_hashed(lambda: connect().call("POST", "/checks", body))
    if as_json:
        show_json(reported)
        return
    say(f"Check '{name}' of {model} version {reported['version']}: {reported['status']}")


@click.command()
@click.argument("model")
@click.argument("target")
@click.option("--reason", required=True, help="Why; it goes on record.")
@command
def rollback(model: str, target: str, reason: str, as_json: bool) -> None:
    """Return TARGET of MODEL to the version that really served it before."""
    path = f"/models/{quote(model, safe='')}/rollback"
    decision = connect().call("POST", path, {"target": target, "reason": reason})
    if as_json:
        show_json(decision)
        return
    before = decision["previous_version"] or "nothing"
    say(f"{model} {decision['target']}: version {decision['version']} serves again (was {before}).")
    if decision["hold"]:
        say(f"Version {before} is on hold for {decision['target']} until `lockgate unhold {decision['hold']}`.")


@click.command()
@click.argument("model")
@click.option("--target", help="Only this target: stage:Production, alias:champion.")
@click.option("--at", "at", metavar="TIME", help="Only who held it then: 2026-05-12T14:00:00Z.")
@command
def history(model: str, target: str | None, at: str | None, as_json: bool) -> None:
    """Show who held MODEL's targets, from when to when, and by whose decision."""
    found = connect().call("GET", f"/models/{quote(model, safe='')}/history", target=target, at=at)
    if as_json:
        show_json(found)
        return
    rows = (
        (
            held["target"],
            held["version"],
            held["from"],
            held["to"] or "now",
            _decision(held),
        )
        for held in found["history"]
    )
    headings = ("TARGET", "VERSION", "FROM", "TO", "BY WHOSE DECISION")
    table(headings, rows, _nothing(model, target, at))


def _nothing(model: str, target: str | None, at: str | None) -> str:
    if target is None and at is None:
        return f"No target of {model} has held a version."
    return (
        f"{target or 'No target'} of {model} held {'no' if target else 'a'} version{f' at {at}' if at else ' so far'}."
    )


def _decision(held: dict[str, Any]) -> str:
    by = f" by {held['by']}" if held["by"] else ""
    approved = f", approved by {', '.join(held['approved_by'])}" if held["approved_by"] else ""
    evidence = f" on evidence {held['evidence_digest']}" if held["evidence_digest"] else ""
    request = f" ({held['request_url']})" if held["request_url"] else ""
    reason = f": {held['reason']}" if held["reason"] else ""
    deleted = " [of a model of this name that was deleted since]" if held["model_deleted"] else ""
    decision = f" (decision {held['decision_id']})" if held["decision_id"] is not None else ""
    return f"{held['how']}{decision}{by}{approved}{evidence}{request}{reason}{deleted}"
