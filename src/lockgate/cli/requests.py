"""`lockgate request`, `requests`, `show`, `approve`, `reject`, `withdraw`, `comment` and `promote`."""

from typing import Any

import click

from lockgate.cli.output import at, command, connect, say, show_json, table
from lockgate.cli.output import said as did
from lockgate.cli.waiting import wait_until_hashed

_COMMENT = click.option("--comment", metavar="TEXT", help="Said to everybody who looks at the request.")


@click.command()
@click.argument("model")
@click.argument("version")
@click.argument("target")
@_COMMENT
@click.option("--wait", is_flag=True, help="Wait until the version's files are hashed; many and large ones take time.")
@command
def request(model: str, version: str, target: str, comment: str | None, wait: bool, as_json: bool) -> None:
    """Ask that TARGET of MODEL move to VERSION.

    TARGET is stage:Staging, stage:Production or alias:NAME. Asking for the same thing again shows the same request.
    """
    body = {"model": model, "version": version, "target": target, "comment": comment}
    asked = connect().call("POST", "/requests", body)
    _show(wait_until_hashed(asked) if wait else asked, as_json)


@click.command()
@click.option("--state", help="open, approved, rejected, withdrawn, expired, promoted or superseded.")
@click.option("--model", help="Only of this model.")
@click.option("--target", help="Only for this target.")
@click.option("--reviewer", help="Only those that this person has reviewed.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@command
def requests(
    state: str | None, model: str | None, target: str | None, reviewer: str | None, limit: int, as_json: bool
) -> None:
    """List promotion requests, newest first."""
    found = connect().call(
        "GET", "/requests", state=state, model=model, target=target, reviewer=reviewer, max_results=limit
    )
    if as_json:
        show_json(found)
        return
    rows = (
        (r["id"], r["state"], r["model"], r["version"], r["target"], r["requester"], len(r["unmet"]) or "")
        for r in found["requests"]
    )
    headings = ("ID", "STATE", "MODEL", "VERSION", "TARGET", "BY", "UNMET")
    table(headings, rows, "No requests. `lockgate request MODEL VERSION TARGET` opens one.")


@click.command()
@click.argument("number", metavar="ID", type=int)
@command
def show(number: int, as_json: bool) -> None:
    """Show request ID: its gates, reviews, and what is still missing."""
    _show(connect().call("GET", f"/requests/{number}"), as_json)


def _act(number: int, what: str, comment: str | None, as_json: bool) -> None:
    _show(connect().call("POST", f"/requests/{number}/{what}", {"comment": comment}), as_json)


@click.command()
@click.argument("number", metavar="ID", type=int)
@click.option("--evidence", metavar="DIGEST", help="Digest of the evidence that you saw; no other is approved.")
@_COMMENT
@command
def approve(number: int, evidence: str | None, comment: str | None, as_json: bool) -> None:
    """Approve request ID, on the evidence that it shows; refused if that has changed since it was last looked at.

    Not by who asked for it, registered the version or had a hand in its run, and not by service accounts.
    """
    body = {"comment": comment, "evidence_digest": evidence}
    _show(connect().call("POST", f"/requests/{number}/approve", body), as_json)


@click.command()
@click.argument("number", metavar="ID", type=int)
@_COMMENT
@command
def reject(number: int, comment: str | None, as_json: bool) -> None:
    """Reject request ID, which ends it."""
    _act(number, "reject", comment, as_json)


@click.command()
@click.argument("number", metavar="ID", type=int)
@_COMMENT
@command
def withdraw(number: int, comment: str | None, as_json: bool) -> None:
    """Take request ID back: its requester, or a maintainer."""
    _act(number, "withdraw", comment, as_json)


@click.command()
@click.argument("number", metavar="ID", type=int)
@click.argument("text")
@command
def comment(number: int, text: str, as_json: bool) -> None:
    """Say TEXT about request ID."""
    _act(number, "comment", text, as_json)


@click.command("re-request")
@click.argument("number", metavar="ID", type=int)
@click.argument("reviewers", nargs=-1)
@_COMMENT
@command
def re_request(number: int, reviewers: tuple[str, ...], comment: str | None, as_json: bool) -> None:
    """Ask REVIEWERS to review request ID; without any, those whose approvals were dismissed."""
    body = {"reviewers": list(reviewers), "comment": comment}
    _show(connect().call("POST", f"/requests/{number}/re-request", body), as_json)


@click.command()
@click.argument("number", metavar="ID", type=int)
@_COMMENT
@command
def lift(number: int, comment: str | None, as_json: bool) -> None:
    """Lift the rejection of request ID, so that the same can be asked for again: who rejected it, or a maintainer."""
    lifted = connect().call("POST", f"/requests/{number}/lift", {"comment": comment})
    if as_json:
        show_json(lifted)
        return
    say(f"The rejection of request {number} is lifted. Ask again:")
    say(f"  lockgate request {lifted['model']} {lifted['version']} {lifted['target']}")


@click.command()
@click.argument("number", metavar="ID", type=int)
@_COMMENT
@command
def promote(number: int, comment: str | None, as_json: bool) -> None:
    """Carry out request ID: everything is checked again, then the target moves."""
    _act(number, "promote", comment, as_json)


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    say(f"Request {found['id']}: {found['model']} version {found['version']} -> {found['target']}: {found['state']}")
    say(f"  asked by {found['requester']} at {at(found['created_at'])}, expires {at(found['expires_at'])}")
    say(f"  judged under policy version {found['policy_version']}")
    if found["comment"]:
        say(f"  {found['comment']}")
    if found["outcome"]:
        say(f"  {found['outcome']}")
    if found["decision_id"] is not None:
        say(f"  carried out at {at(found['decided_at'])} by decision {found['decision_id']}")
    _show_evidence(found)
    if found["gates"]:
        say("")
        rows = ((f"  {gate['name']}", gate["outcome"] + _mode(gate), gate["explanation"]) for gate in found["gates"])
        table(("  GATE", "OUTCOME", "WHY"), rows, "")
    for review in found["reviews"]:
        void = f" (does not count any more: {review['dismissed']})" if review["dismissed"] else ""
        void = " (lifted)" if review["lifted"] else void
        said = f": {review['comment']}" if review["comment"] else ""
        say(f"  {review['reviewer']} {did(review['verdict'])} at {at(review['at'])}{void}{said}")
    if found["asked_reviewers"]:
        say(f"  asked to review: {', '.join(found['asked_reviewers'])}")
    for sentence in found["warnings"]:
        say(f"  Warning: {sentence}")
    if found["unmet"]:
        say("\nStill missing:")
        for sentence in found["unmet"]:
            say(f"  - {sentence}")
    elif found["state"] in ("open", "approved"):
        say(f"\nNothing is missing: whoever may carry it out runs `lockgate promote {found['id']}`.")
    if found["state"] == "open":
        say(f"\nTo approve exactly this: lockgate approve {found['id']} --evidence {found['evidence']['digest']}")
    say(f"\n{found['url']}")


def _show_evidence(found: dict[str, Any]) -> None:
    evidence, files = found["evidence"], found["evidence"]["artifacts"]
    incumbent = found["incumbent"] or "nothing: it would be the first promotion"
    metrics = ", ".join(f"{name} {value:.6g}" for name, value in list(evidence["metrics"].items())[:_MOST_METRICS])
    known = f"{len(files['files'])} files, {sum(file['size'] for file in files['files'])} bytes"
    if not files["files"]:
        known = files["reason"] or found["hashing"] or "none: an approval says nothing about bytes"
    say(f"  replaces {incumbent if not found['incumbent'] else f'version {incumbent}'}")
    say(f"  run {evidence['run_id'] or 'none'}, registered by {evidence['registrar'] or 'somebody before Lockgate'}")
    say(f"  metrics: {metrics or 'none'}")
    say(f"  description: {evidence['description'] or 'none'}")
    say(f"  signature: {'yes' if evidence['signature'] else 'none'}; files: {known}")


_MOST_METRICS = 12


def _mode(gate: dict[str, Any]) -> str:
    return "" if gate["mode"] == "deny" else f" ({gate['mode']} only)"
