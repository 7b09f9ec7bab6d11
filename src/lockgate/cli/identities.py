"""`lockgate identities`."""

import click

from lockgate.cli.output import command, connect, say, show_json, table

_issuer = click.option("--issuer", required=True, metavar="URL", help="The provider, as it calls itself.")
_subject = click.option(
    "--subject", required=True, help="Who they are there: the claim `sub`, never an e-mail address."
)


@click.group()
def identities() -> None:
    """Who people are to OpenID providers. For admins."""


@identities.command()
@click.argument("name")
@_issuer
@_subject
@command
def link(name: str, issuer: str, subject: str, as_json: bool) -> None:
    """Let NAME sign in as a subject of a provider."""
    made = connect().call("POST", f"/principals/{name}/identities", {"issuer": issuer, "subject": subject})
    if as_json:
        show_json(made)
        return
    say(f"{name} is {subject} of {issuer}.")


@identities.command()
@click.argument("name")
@_issuer
@_subject
@command
def unlink(name: str, issuer: str, subject: str, as_json: bool) -> None:
    """Let NAME sign in as that subject no more, and end the sessions of NAME."""
    connect().call("DELETE", f"/principals/{name}/identities", issuer=issuer, subject=subject)
    if as_json:
        show_json({"name": name, "issuer": issuer, "subject": subject, "unlinked": True})
        return
    say(f"{name} is not {subject} of {issuer} any more.")


@identities.command("list")
@command
def list_(as_json: bool) -> None:
    """List who is whom."""
    found = connect().call("GET", "/identities")
    if as_json:
        show_json(found)
        return
    rows = ((one["name"], one["issuer"], one["subject"]) for one in found["identities"])
    table(("NAME", "ISSUER", "SUBJECT"), rows, "Nobody is linked to a provider.")
