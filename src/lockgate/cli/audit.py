"""`lockgate audit`."""

import json
from typing import Any

import click

from lockgate.cli.output import at, command, connect, show_json, table


@click.group()
def audit() -> None:
    """The audit log: who did what, and who was refused."""


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


@audit.command()
@click.option("--model", help="Only about this model.")
@command
def export(model: str | None, as_json: bool) -> None:
    """Print all audit entries, newest first, a JSON object a line."""
    server, page_token = connect(), None
    while True:
        found = server.call("GET", "/audit", model=model, page_token=page_token, max_results=200)
        for entry in found["entries"]:
            click.echo(json.dumps(entry, ensure_ascii=False))
        page_token = found["next_page_token"]
        if page_token is None:
            return
