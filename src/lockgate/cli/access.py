"""`lockgate access`."""

import sys
from pathlib import Path
from typing import Any

import click

from lockgate.access.roles import ACTIONS
from lockgate.cli.output import command, connect, say, show_json

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_PRUNE_HELP = "Deactivate who is not named in FILE."


@click.group()
def access() -> None:
    """Who there is and what they may, as a file; and whether somebody may do something, and why.

    \b
    version: 1
    people:
      - {name: ada, roles: [contributor]}
      - {name: sue, roles: [contributor, "reviewer:payments-*"]}
    service_accounts:
      - {name: release-bot, owner: ada, roles: [releaser]}
    groups:
      senior: {members: [sue], roles: [reviewer]}
    """


@access.command()
@command
def export(as_json: bool) -> None:
    """Print who there is and what they may, as a file for `lockgate access apply`."""
    found = connect().call("GET", "/access")
    if as_json:
        show_json(found)
        return
    click.echo(found["source"], nl=False)


@access.command()
@click.argument("file", type=_FILE)
@click.option("--prune", is_flag=True, help=_PRUNE_HELP)
@command
def diff(file: Path, prune: bool, as_json: bool) -> None:
    """Show what applying FILE would change; nothing is changed."""
    planned = _put(file, prune, dry_run=True)
    if as_json:
        show_json(planned)
        return
    _show(planned)


@access.command()
@click.argument("file", type=_FILE)
@click.option("--prune", is_flag=True, help=_PRUNE_HELP)
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@command
def apply(file: Path, prune: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Make what FILE says so: show what changes, ask, and change all of it or nothing.

    Who is named becomes what FILE says of them; who is not is left alone, but for --prune.
    """
    planned = _put(file, prune, dry_run=True)
    if not as_json:
        _show(planned)
    if planned["changes"] and not dry_run:
        if not yes:
            click.confirm("Apply this?", abort=True, err=True)
        planned = _put(file, prune, dry_run=False, expect=planned["digest"])
        if not as_json:
            say("Applied.")
    if as_json:
        show_json(planned)


def _put(file: Path, prune: bool, dry_run: bool, expect: str | None = None) -> Any:
    try:
        source = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise click.BadParameter(f"{file} is not UTF-8 text") from None
    body = {"source": source, "prune": prune, "dry_run": dry_run, "expect": expect}
    return connect().call("PUT", "/access", body)


def _show(planned: dict[str, Any]) -> None:
    for change in planned["changes"]:
        say(f"{change['principal']}:")
        for sentence in change["changes"]:
            say(f"  - {sentence}")
    if not planned["changes"]:
        say("Nothing changes.")
    if planned["left_alone"]:
        say(f"Not in the file and left alone (--prune deactivates them): {', '.join(planned['left_alone'])}.")


@access.command(epilog=f"Actions: {ACTIONS}.")
@click.argument("who")
@click.argument("action")
@click.argument("model", required=False)
@click.argument("target", required=False)
@click.option("--request", "request_id", type=int, help="Whether they may about this promotion request.")
@command
def explain(
    who: str, action: str, model: str | None, target: str | None, request_id: int | None, as_json: bool
) -> None:
    """Say whether WHO may do ACTION, to MODEL (without it: to all) and TARGET, and why.

    \b
    For example: lockgate access explain ada promote fraud-detector stage:Production
    """
    found = connect().call(
        "GET", "/access/explain", principal=who, action=action, model=model, target=target, request=request_id
    )
    if as_json:
        show_json(found)
        return
    say(f"{'Yes' if found['allowed'] else 'No'}: {_asked(found)}")
    for reason in found["reasons"]:
        say(f"  {_MARKS[reason['speaks_for']]} {reason['sentence']}")


_MARKS = {True: "+", False: "-", None: " "}


def _asked(found: dict[str, Any]) -> str:
    where = " ".join(part for part in (found["model"], found["target"]) if part)
    return f"{found['principal']}, {found['action']}" + (f", {where}" if where else "")


@access.command()
@command
def check(as_json: bool) -> None:
    """Find service accounts that no active person answers for. Exits with 1 if there are any."""
    principals = connect().call("GET", "/principals")["principals"]
    problems = _problems(principals)
    if as_json:
        show_json({"problems": problems})
    for sentence in () if as_json else problems or ["Somebody answers for every service account."]:
        say(sentence)
    if problems:
        sys.exit(1)


def _problems(principals: list[dict[str, Any]]) -> list[str]:
    active = {principal["name"] for principal in principals if principal["active"]}
    found = []
    for account in principals:
        if account["kind"] != "service" or not account["active"]:
            continue
        how = f"`lockgate users set {account['name']} --owner NAME`"
        if account["owner"] is None:
            found.append(f"Nobody answers for {account['name']}: say who with {how}.")
        elif account["owner"] not in active:
            found.append(
                f"{account['owner']}, who answers for {account['name']}, is not active: "
                f"an admin says who does with {how}."
            )
    return found
