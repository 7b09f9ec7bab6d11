"""`lockgate users` and `lockgate tokens`."""

import sys
from typing import Any

import click

from lockgate.access.roles import ACTIONS
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
@click.option("--owner", help="The person who answers for a service account; without it, you.")
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
@click.option("--no-groups", is_flag=True, help="Takes all groups away.")
@click.option("--role", "roles", multiple=True, metavar="ROLE[:PATTERN]", help="Replaces all roles; may be repeated.")
@click.option("--no-roles", is_flag=True, help="Takes all roles away.")
@click.option("--owner", help="The person who answers for a service account.")
@click.option(
    "--same-person-as",
    metavar="ACCOUNT",
    help="The same person's first account: reviews count the two as one. NAME itself parts them again.",
)
@click.option("--active/--inactive", default=None, help="Let it in, or keep it out.")
@command
def set_(
    name: str,
    groups: tuple[str, ...],
    no_groups: bool,
    roles: tuple[str, ...],
    no_roles: bool,
    owner: str | None,
    same_person_as: str | None,
    active: bool | None,
    as_json: bool,
) -> None:
    """Replace groups or roles of NAME, or deactivate it. Binds on the next call."""
    body = {
        "groups": _replacement("group", groups, no_groups),
        "roles": _replacement("role", roles, no_roles),
        "active": active,
        "owner": owner,
        "same_person_as": same_person_as,
    }
    _show(connect().call("PATCH", f"/principals/{name}", body), as_json)


def _replacement(what: str, given: tuple[str, ...], none: bool) -> list[str] | None:
    """Return what replaces all groups or roles; None leaves them as they are."""
    if given and none:
        raise click.UsageError(f"--{what} and --no-{what}s contradict each other; use one of them.")
    return list(given) if given or none else None


@users.command("sign-out")
@click.argument("name")
@command
def sign_out(name: str, as_json: bool) -> None:
    """End all sessions of NAME's browsers: your own, or another's. Tokens stay: `lockgate tokens revoke` ends them."""
    connect().call("DELETE", f"/principals/{name}/sessions")
    if as_json:
        show_json({"name": name, "signed_out": True})
        return
    say(f"{name} is signed out everywhere.")


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
            _answers(p),
        )
        for p in found["principals"]
    )
    table(("NAME", "KIND", "", "GROUPS", "ROLES", "WHO ANSWERS"), rows, "Nobody.")


def _answers(principal: dict[str, Any]) -> str:
    """Return which person is behind an account, where the account does not say so itself."""
    if principal["kind"] == "service":
        return principal["owner"] or "NOBODY (lockgate users set ... --owner)"
    return f"same person as {principal['same_person_as']}" if principal["same_person_as"] else ""


@click.command()
@command
def whoami(as_json: bool) -> None:
    """Show who you are to the server, your roles and groups, and what your token is narrowed to."""
    me = connect().call("GET", "/me")
    _show(me, as_json)
    if as_json:
        return
    for caveat in me["caveats"]:
        say(f"This token only allows {_narrowed(caveat)}.")
    if me["ends_at"]:
        say(f"It ends at {at(me['ends_at'])}.")


def _show(principal: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(principal)
        return
    groups = f", groups {', '.join(principal['groups'])}" if principal["groups"] else ""
    inactive = "" if principal["active"] else ", inactive"
    roles = ", ".join(principal["roles"]) or "none"
    owner = f", owned by {principal['owner']}" if principal["owner"] else ""
    same = f", same person as {principal['same_person_as']}" if principal["same_person_as"] else ""
    say(f"{principal['name']} ({principal['kind']}): roles {roles}{groups}{owner}{same}{inactive}")


@click.group()
def tokens() -> None:
    """Tokens: what MLFLOW_TRACKING_TOKEN holds."""


@tokens.command(epilog=f"Actions: {ACTIONS}.")
@click.argument("name")
@click.option("--expires", metavar="DURATION", help="Such as 90d or 12h; without it, never.")
@click.option("--only", metavar="ACTION", multiple=True, help="Only this action (and reading); may be repeated.")
@click.option(
    "--only-model", "models", metavar="PATTERN", multiple=True,
    help="Only models and experiments of such names; may be repeated.",
)  # fmt: skip
@command
def create(name: str, expires: str | None, only: tuple[str, ...], models: tuple[str, ...], as_json: bool) -> None:
    """Make a token for NAME and print it, and nothing else. It is shown only now.

    It never allows more than NAME may, nor than the token that it is made with.
    """
    body = {"principal": name, "expires": expires, "only": list(only), "only_models": list(models)}
    made = connect().call("POST", "/tokens", body)
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
    rows = (
        (
            t["id"],
            t["principal"],
            at(t["created_at"]),
            at(t["expires_at"]) or "never",
            at(t["last_used_at"]) or "never",
            "; ".join(map(_narrowed, t["caveats"])),
        )
        for t in found["tokens"]
    )
    table(("ID", "PRINCIPAL", "CREATED", "EXPIRES", "LAST USED", "ONLY"), rows, "No tokens.")


def _narrowed(caveat: dict[str, Any]) -> str:
    """Return what a token is narrowed to: `read, carry out promotions on payments-*`."""
    what = ", ".join(caveat["only"]) if caveat["only"] is not None else "everything"
    return what if caveat["only_models"] is None else f"{what} on {', '.join(caveat['only_models'])}"


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
