"""`lockgate policy`."""

from collections import Counter
from pathlib import Path
from typing import Any

import click

from lockgate.cli.lazy import LazyGroup
from lockgate.cli.output import at, command, connect, say, show_json, table

POLICY_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


_LAZY = {
    "validate": ("validate:validate", "Check a policy file without a server."),
    "apply": ("policy_apply:apply", "Put a policy in force."),
    "diff": ("policy_diff:diff", "Show what a policy file would weaken."),
    "changes": ("policy_changes:changes", "List policies that wait for approval."),
    "approve": ("policy_changes:approve", "Approve a policy that weakens the one in force."),
    "reject": ("policy_changes:reject", "Reject such a policy, or take one's own back."),
}


@click.group(cls=LazyGroup, lazy=_LAZY)
def policy() -> None:
    """Policy as code: what must hold before a target moves.

    \b
    A policy that wants one senior's approval for production:
      version: 1
      rules:
        - name: production
          models: "*"
          targets: [stage:Production, alias:champion]
          gates:
            - {name: auc-floor, expr: "metrics.val_auc >= 0.85"}
          approvals: {required: 1, from: [group:senior]}
    """


@policy.command()
@click.option("--version", type=click.IntRange(0), help="Of this version, not of the one in force; 0 is the default.")
@command
def show(version: int | None, as_json: bool) -> None:
    """Show the policy that is in force."""
    stored = connect().call("GET", "/policies" if version is None else f"/policies/versions/{version}")
    if as_json:
        show_json(stored)
        return
    since = f", applied by {stored['applied_by']} at {at(stored['applied_at'])}" if stored["applied_at"] else ""
    say(f"# version {stored['version']}{since or ': the default, until one is applied'}")
    say(stored["source"].rstrip())


@policy.command()
@command
def versions(as_json: bool) -> None:
    """List all versions, newest first."""
    found = connect().call("GET", "/policies/versions")
    if as_json:
        show_json(found)
        return
    rows = ((stored["version"], stored["applied_by"], at(stored["applied_at"])) for stored in found["versions"])
    table(("VERSION", "BY", "AT"), rows, "No policy has been applied; the default one is in force.")


@policy.command()
@click.argument("file", type=POLICY_FILE, required=False)
@click.option("--model", help="Only this model.")
@click.option("--since", metavar="TIME", help="Only what happened from then on: 2026-05-12T14:00:00Z.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=200, show_default=True, help="How many moves.")
@command
def simulate(file: Path | None, model: str | None, since: str | None, limit: int, as_json: bool) -> None:
    """Show what FILE would have refused in the past; without FILE, the policy in force. Nothing is changed."""
    body = {"source": read_text(file) if file else None, "model": model, "since": since, "max_results": limit}
    found = connect().call("POST", "/policies/simulate", body)
    if as_json:
        show_json(found)
        return
    if found["moves"]:
        table(("AT", *_HEADINGS), (_moved(move) for move in found["moves"]), "")
    say(_summary(found["totals"]))
    if found["cut"]:
        say("There is more: this is the newest part. Narrow it down with --model or --since, or raise --limit.")
    if found["requests"]:
        say("\nLive requests, if they were carried out now:")
        table(("REQUEST", *_HEADINGS), ((one["request_id"], *_moved(one)[1:]) for one in found["requests"]), "")
    if found["findings"]:
        say("\nWhat rules in audit mode would have refused while in force:")
        headings = ("AT", "MODEL", "VERSION", "TARGET", "RULES", "WHY")
        table(headings, (_found(finding) for finding in found["findings"]), "")


_HEADINGS = ("MODEL", "VERSION", "TARGET", "OUTCOME", "WHY")


def _moved(move: dict[str, Any]) -> tuple[str, ...]:
    marked = (f"(audit mode) {said}" if said in move["audited"] else said for said in move["unmet"])
    why = " ".join(marked) or _why_not_judged(move)
    return (at(move["at"]), move["model"], move["version"], move["target"], move["outcome"], why)


def _why_not_judged(move: dict[str, Any]) -> str:
    if move["outcome"] == "exempt":
        return f"a {move['how']} is no promotion"
    return "" if move["evidence"] else "no rule is about it"


def _found(finding: dict[str, Any]) -> tuple[str, ...]:
    where = (finding["model"], finding["version"], finding["target"])
    return (at(finding["at"]), *where, ", ".join(finding["rules"]), " ".join(finding["unmet"]))


def _summary(totals: dict[str, Any]) -> str:
    """Return `12 moves: 9 would have been allowed, 3 refused: auc-floor 2, approvals 1`."""
    names = Counter(part["name"] for part in totals["refused_by"])
    by = [
        f"{part['rule'] + '/' if names[part['name']] > 1 and part['rule'] else ''}{part['name']} {part['moves']}"
        for part in totals["refused_by"]
    ]
    moves = f"{totals['moves']} move{'s' if totals['moves'] != 1 else ''}"
    refused = f"{totals['refused']} refused" + (f": {', '.join(by)}" if by else "")
    more = [
        *([f"{totals['audited']} only by rules in audit mode"] if totals["audited"] else []),
        *([f"{totals['exempt']} exempt (rollback, break-glass)"] if totals["exempt"] else []),
        *([f"{totals['left_out']} left out (deleted, nothing is known any more)"] if totals["left_out"] else []),
    ]
    return "; ".join([f"{moves}: {totals['allowed']} would have been allowed, {refused}", *more])


def read_text(file: Path) -> str:
    """Return a file's text, or say that it is none."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise click.BadParameter(f"{file} is not UTF-8 text") from None
