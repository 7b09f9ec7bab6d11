"""`lockgate users` and `lockgate tokens`."""

import sys
from typing import Any

import click

from lockgate.cli.output import at, command, connect, say, show_json, table


@click.group()
def users() -> None:
    """People and service accounts, their groups and roles.

    \b
    Roles: viewer, contributor, reviewer, releaser, operator, maintainer, admin.
    A role may be bound to a pattern of model names: --role reviewer:payments-*
    """


@users.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(["user", "service"]), help="A person (the default) or a service account.")
@click.option("--group", "groups", multiple=True, help="May be repeated.")
@click.option("--role", "roles", multiple=True, metavar="ROLE[:PATTERN]", help="May be repeated.")
@click.option("--owner", help="The person who answers for a service account.")
@click.option("--password-stdin", is_flag=True, help="Read a password for basic authentication from stdin.")
@command
def add(
    name: str,
    kind: str | None,
    groups: tuple[str, ...],
    roles: tuple[str, ...],
    owner: str | None,
    password_stdin: bool,
    as_json: bool,
) -> None:
    """Add principal NAME; if it is there, add groups and roles to it."""
    body: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "groups": list(groups),
        "roles": list(roles),
        "owner": owner,
    }
    if password_stdin:
        body["password"] = sys.stdin.readline().rstrip("\r\n")
    _show(connect().call("POST", "/principals", body), as_json)


@users.command("set")
@click.argument("name")
@click.option("--group", "groups", multiple=True, help="Replaces all groups; may be repeated.")
@click.option("--role", "roles", multiple=True, metavar="ROLE[:PATTERN]", help="Replaces all roles; may be repeated.")
@click.option("--owner", help="The person who answers for a service account.")
@click.option("--active/--inactive", default=None, help="Let it in, or keep it out.")
@command
def set_(
    name: str,
    groups: tuple[str, ...],
    roles: tuple[str, ...],
    owner: str | None,
    active: bool | None,
    as_json: bool,
) -> None:
    """Replace groups or roles of NAME, or deactivate it. Binds on the next call."""
    body = {"groups": list(groups) or None, "roles": list(roles) or None, "active": active, "owner": owner}
    _show(connect().call("PATCH", f"/principals/{name}", body), as_json)


@users.command("list")
@command
def list_(as_json: bool) -> None:
    """List everybody."""
    found = connect().call("GET", "/principals")
    if as_json:
        show_json(found)
        return
    rows = (
        (
            p["name"],
            p["kind"],
            "" if p["active"] else "inactive",
            ", ".join(p["groups"]),
            ", ".join(p["roles"]),
            p["owner"],
        )
        for p in found["principals"]
    )
    table(("NAME", "KIND", "", "GROUPS", "ROLES", "OWNER"), rows, "Nobody.")


def _show(principal: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(principal)
        return
    groups = f", groups {', '.join(principal['groups'])}" if principal["groups"] else ""
    inactive = "" if principal["active"] else ", inactive"
    roles = ", ".join(principal["roles"]) or "none"
    owner = f", owned by {principal['owner']}" if principal["owner"] else ""
    say(f"{principal['name']} ({principal['kind']}): roles {roles}{groups}{owner}{inactive}")


@click.group()
def tokens() -> None:
    """Tokens: what MLFLOW_TRACKING_TOKEN holds."""


@tokens.command()
@click.argument("name")
@click.option("--expires", metavar="DURATION", help="Such as 90d or 12h; without it, never.")
@command
def create(name: str, expires: str | None, as_json: bool) -> None:
    """Make a token for NAME and print it, and nothing else. It is shown only now."""
    made = connect().call("POST", "/tokens", {"principal": name, "expires": expires})
    if as_json:
        show_json(made)
        return
    click.echo(made["token"])


@tokens.command("list")
@command
def list_tokens(as_json: bool) -> None:
    """List valid tokens: your own, or all if you are an admin."""
    found = connect().call("GET", "/tokens")
    if as_json:
        show_json(found)
        return
    rows = ((t["id"], t["principal"], at(t["created_at"]), at(t["expires_at"]) or "never") for t in found["tokens"])
    table(("ID", "PRINCIPAL", "CREATED", "EXPIRES"), rows, "No tokens.")


@tokens.command()
@click.argument("number", metavar="ID", type=int)
@command
def revoke(number: int, as_json: bool) -> None:
    """Make token ID invalid from now on."""
    connect().call("DELETE", f"/tokens/{number}")
    if as_json:
        show_json({"id": number, "revoked": True})
        return
    say(f"Token {number} is revoked.")
