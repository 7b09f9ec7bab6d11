"""`lockgate audit`."""

import json
import sys
from typing import Any

import click

from lockgate.audit.checkpoint import as_line
from lockgate.cli.audit_proof import verify, verify_bundle
from lockgate.cli.output import at, command, connect, show_json, table


@click.group()
def audit() -> None:
    """The audit log: who did what, and who was refused; and its proof."""


@audit.command("list")
@click.option("--model", help="Only about this model.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@command
def list_(model: str | None, limit: int, as_json: bool) -> None:
    """List audit entries, newest first."""
    found = connect().call("GET", "/audit", model=model, max_results=limit)
    if as_json:
        show_json(found)
        return
    rows = (
        (e["id"], at(e["at"]), e["actor"], e["action"], e["outcome"], _subject(e), e["reason"])
        for e in found["entries"]
    )
    table(("ID", "AT", "WHO", "WHAT", "OUTCOME", "OF WHAT", "WHY"), rows, "Nothing yet.")


def _subject(entry: dict[str, Any]) -> str:
    version = f"version {entry['version']}" if entry["version"] else ""
    request = f"(request {entry['request_id']})" if entry["request_id"] else ""
    told = {**entry["before"], **entry["after"]}
    other = next((str(told[key]) for key in ("principal", "check", "name") if key in told), "")
    return " ".join(filter(None, (entry["model"] or other, version, entry["target"], request)))


@audit.command("export")
@click.option("--model", help="Only what you may see about this model, newest first: that can't be verified.")
@command
def export(model: str | None, as_json: bool) -> None:
    """Print all audit entries, oldest first, a JSON object a line.

    The lines are those that the hash chain is made of: `lockgate audit verify --export FILE` proves them. All of the
    log is for who is maintainer for all models.
    """
    if model is not None:
        _export_model(model)
        return
    server, after = connect(), 0
    # As they come: any other end of line, or another encoding, would not be what was hashed.
    out = sys.stdout.buffer
    while lines := server.lines("/audit/export", after=after):
        out.write(b"\n".join(lines) + b"\n")
        after = json.loads(lines[-1])["number"]
    out.flush()


def _export_model(model: str) -> None:
    server, page_token = connect(), None
    while True:
        found = server.call("GET", "/audit", model=model, page_token=page_token, max_results=200)
        for entry in found["entries"]:
            click.echo(json.dumps(entry, ensure_ascii=False))
        page_token = found["next_page_token"]
        if page_token is None:
            return


@audit.command()
@command
def checkpoint(as_json: bool) -> None:
    """Print a signed checkpoint of the log as it is now, on one line: keep it where the server can't change it."""
    click.echo(as_line(connect().call("GET", "/audit/checkpoint")))


@audit.command()
@command
def key(as_json: bool) -> None:
    """Print the public key that the server signs with, in PEM."""
    found = connect().call("GET", "/audit/key")
    if as_json:
        show_json(found)
        return
    click.echo(found["public_key"], nl=False)


@audit.command()
@click.argument("number", metavar="REQUEST", type=int, required=False)
@click.option("--decision", type=int, help="The decision, by its own number: of a rollback or a break-glass.")
@command
def bundle(number: int | None, decision: int | None, as_json: bool) -> None:
    """Print the decision that carried REQUEST out, with all that it rests on, as one signed bundle."""
    if (number is None) == (decision is None):
        raise click.UsageError("Name a request, or --decision ID.")
    path = f"/requests/{number}/bundle" if number is not None else f"/decisions/{decision}/bundle"
    click.echo(as_line(connect().call("GET", path)))


audit.add_command(verify)
audit.add_command(verify_bundle)
