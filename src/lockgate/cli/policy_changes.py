"""`lockgate policy changes`, `approve` and `reject`: policies that are weaker than the one in force."""

from typing import Any

import click

from lockgate.cli.output import at, command, connect, say, show_json, table

_STATES = click.Choice(["open", "applied", "rejected", "withdrawn", "stale"])
_NUMBER = click.argument("number", metavar="[ID]", type=click.IntRange(1), required=False)
_COMMENT = click.option("--comment", metavar="TEXT", help="Put on record with it.")


@click.command()
@_NUMBER
@click.option("--state", type=_STATES, help="Only those in this state.")
@command
def changes(number: int | None, state: str | None, as_json: bool) -> None:
    """List policies that weaken the one that was in force, newest first; with ID, show all of one."""
    if number is not None:
        _show(connect().call("GET", f"/policies/changes/{number}"), as_json, with_source=True)
        return
    found = connect().call("GET", "/policies/changes", state=state)
    if as_json:
        show_json(found)
        return
    rows = (
        (c["id"], c["state"], c["proposer"], at(c["at"]), len(c["weakens"]), " ".join(c["missing"]))
        for c in found["changes"]
    )
    table(("ID", "STATE", "BY", "AT", "WEAKENS", "MISSING"), rows, "No policy changes.")


@click.command()
@click.argument("number", metavar="ID", type=click.IntRange(1))
@_COMMENT
@command
def approve(number: int, comment: str | None, as_json: bool) -> None:
    """Approve policy change ID; the last approval that it needs puts the policy in force."""
    _show(connect().call("POST", f"/policies/changes/{number}/approve", {"comment": comment}), as_json)


@click.command()
@click.argument("number", metavar="ID", type=click.IntRange(1))
@_COMMENT
@command
def reject(number: int, comment: str | None, as_json: bool) -> None:
    """Reject policy change ID, or take your own back."""
    _show(connect().call("POST", f"/policies/changes/{number}/reject", {"comment": comment}), as_json)


def _show(change: dict[str, Any], as_json: bool, with_source: bool = False) -> None:
    if as_json:
        show_json(change)
        return
    say(f"Policy change {change['id']}: {change['state']}")
    say(f"  proposed by {change['proposer']} at {at(change['at'])}, against version {change['base_version']}")
    for sentence in change["weakens"]:
        say(f"  weakens: {sentence}")
    for approval in change["approvals"]:
        say(f"  approved by {approval['by']} at {at(approval['at'])}")
    for sentence in change["missing"]:
        say(f"  missing: {sentence}")
    if with_source:
        say(f"\n{change['source'].rstrip()}")
