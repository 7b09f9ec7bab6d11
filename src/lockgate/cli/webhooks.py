"""`lockgate webhooks`: who is told of what happens."""

from typing import Any

import click

from lockgate.cli.output import at, command, connect, say, say_all, show_json, table
from lockgate.cli.unseen import READ, given, read, refuse_secrets

_WEBHOOK = click.argument("webhook", metavar="ID")


class _Setting(click.ParamType[tuple[str, str]]):
    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, is_one, setting = str(value).partition("=")
        if not is_one or not name:
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name, setting


_SETTINGS = click.option(
    "--setting",
    "settings",
    multiple=True,
    type=_Setting(),
    help="What the dialect needs besides; NAME=- for what is secret: it is asked for, or a line of stdin. Can be "
    "repeated.",
)
_SECRET = click.option(
    "--secret-stdin", is_flag=True, help="Sign with a secret of yours: it is asked for, or the first line of stdin."
)
_EVENTS = click.option(
    "--event", "events", multiple=True, help="Of what: an event of the dialect, `*` for all. Can be repeated."
)


@click.group()
def webhooks() -> None:
    """Who is told of what happens.

    \b
      lockgate webhooks add https://ci.example.com/lockgate --event promotion.done
      lockgate webhooks add - --dialect slack --models 'payments-*'   # asks for the URL, which is secret
      lockgate webhooks add https://gitlab.example.com --dialect gitlab --event promotion.done \\
          --setting project=42 --setting ref=main --setting token=-
    """


@webhooks.command("list")
@command
def list_webhooks(as_json: bool) -> None:
    """List the webhooks that you maintain."""
    found = connect().call("GET", "/webhooks")
    if as_json:
        show_json(found)
        return
    rows = (
        (w["id"], w["dialect"], w["url"], ", ".join(w["events"]), w["models"], w["status"], w["reason"])
        for w in found["webhooks"]
    )
    table(("ID", "DIALECT", "URL", "EVENTS", "MODELS", "STATUS", "REASON"), rows, "Nobody is told of anything.")


@webhooks.command()
@_WEBHOOK
@command
def show(webhook: str, as_json: bool) -> None:
    """Show a webhook, with dots in place of what is secret."""
    found = connect().call("GET", f"/webhooks/{webhook}")
    if as_json:
        show_json(found)
        return
    settings = [(f"setting {name}", value) for name, value in found["settings"].items()]
    shown = [
        ("id", found["id"]),
        ("description", found["description"]),
        ("dialect", found["dialect"]),
        ("url", found["url"]),
        ("events", ", ".join(found["events"])),
        ("models", found["models"]),
        ("status", found["status"]),
        ("reason", found["reason"]),
        ("failing since", at(found["failing_since"])),
        *settings,
        ("certificate", "" if found["verify_certificate"] else "any will do"),
        ("created", f"{at(found['created_at'])} by {found['created_by']}"),
        ("changed", at(found["updated_at"])),
    ]
    say_all(shown)


@webhooks.command()
@command
def dialects(as_json: bool) -> None:
    """List the dialects that webhooks can have, the settings of each that are secret, and its events."""
    found = connect().call("GET", "/dialects")
    if as_json:
        show_json(found)
        return
    rows = ((d["name"], ", ".join(d["secret_settings"]), ", ".join(d["events"])) for d in found["dialects"])
    table(("DIALECT", "SECRET", "EVENTS"), rows, "There are none.")


@webhooks.command()
@click.argument("url")
@_EVENTS
@click.option("--dialect", default="standard", show_default=True, help="standard, slack, teams, gitlab, github, ...")
@click.option("--models", default="*", show_default=True, help="About which models: a pattern.")
@click.option("--description", default="", help="What it is for.")
@_SECRET
@click.option("--no-verify", is_flag=True, help="Don't ask for a certificate that the server trusts.")
@_SETTINGS
@command
def add(
    url: str,
    events: tuple[str, ...],
    dialect: str,
    models: str,
    description: str,
    secret_stdin: bool,
    no_verify: bool,
    settings: tuple[tuple[str, str], ...],
    as_json: bool,
) -> None:
    """Tell URL of events from now on: of all, unless --event says which.

    Whoever has the URL of a chat can write there: with `-` in its place it is asked for, or the first line of stdin.
    The secret that its calls are signed with is shown once; where the dialect wants one and you give none, it is made.
    """
    server = connect()
    refuse_secrets(server, dialect, settings)
    body = {
        "url": read("URL") if url == READ else url,
        "events": list(events) or ["*"],
        "dialect": dialect,
        "models": models,
        "description": description,
        "secret": read("secret") if secret_stdin else None,
        "verify_certificate": not no_verify,
        "settings": given(settings),
    }
    _show_once(server.call("POST", "/webhooks", body), as_json)


@webhooks.command()
@_WEBHOOK
@click.option("--url", help="Where; - to be asked. What is secret has to be given again with it.")
@_EVENTS
@click.option("--models", help="About which models: a pattern.")
@click.option("--description", help="What it is for.")
@click.option("--verify/--no-verify", default=None, help="Whether it must have a certificate that the server trusts.")
@_SETTINGS
@command
def change(
    webhook: str,
    url: str | None,
    events: tuple[str, ...],
    models: str | None,
    description: str | None,
    verify: bool | None,
    settings: tuple[tuple[str, str], ...],
    as_json: bool,
) -> None:
    """Change some of a webhook; the rest stays. `lockgate webhooks secret` is for what its calls are signed with."""
    server = connect()
    body: dict[str, Any] = {
        "url": read("URL") if url == READ else url,
        "events": list(events) or None,
        "models": models,
        "description": description,
        "verify_certificate": verify,
    }
    if settings:
        found = server.call("GET", f"/webhooks/{webhook}")
        refuse_secrets(server, found["dialect"], settings)
        # The server takes all of them at once; what it shows as dots it keeps.
        body["settings"] = {**found["settings"], **given(settings)}
    changed = server.call("PATCH", f"/webhooks/{webhook}", {name: one for name, one in body.items() if one is not None})
    if as_json:
        show_json(changed)
        return
    say(f"Webhook {webhook} is changed. Try it out: lockgate webhooks test {webhook}")


@webhooks.command()
@_WEBHOOK
@click.option(
    "--drop-earlier", is_flag=True, help="The receiver has the new secret: don't sign with the earlier one any more."
)
@_SECRET
@command
def secret(webhook: str, drop_earlier: bool, secret_stdin: bool, as_json: bool) -> None:
    """Sign with a new secret, shown once, and with the earlier one too, until --drop-earlier."""
    body = {"drop_earlier": drop_earlier, "secret": read("secret") if secret_stdin else None}
    _show_once(connect().call("POST", f"/webhooks/{webhook}/secret", body), as_json)


def _show_once(made: Any, as_json: bool) -> None:
    if as_json:
        show_json(made)
        return
    say(f"Webhook {made['id']} is {made['status']}. Try it out: lockgate webhooks test {made['id']}")
    if made["secret"]:
        say(f"Its calls are signed with this secret, which is not shown again: {made['secret']}")


@webhooks.command()
@_WEBHOOK
@command
def enable(webhook: str, as_json: bool) -> None:
    """Tell a webhook again. If it had failed, it gets everything that has waited for it."""
    _set_status(webhook, "active", as_json)


@webhooks.command()
@_WEBHOOK
@command
def disable(webhook: str, as_json: bool) -> None:
    """Tell a webhook nothing for now, nor later of what happens meanwhile."""
    _set_status(webhook, "disabled", as_json)


def _set_status(webhook: str, status: str, as_json: bool) -> None:
    changed = connect().call("PATCH", f"/webhooks/{webhook}", {"status": status})
    if as_json:
        show_json(changed)
        return
    say(f"Webhook {webhook} is {changed['status']}.")


@webhooks.command()
@_WEBHOOK
@command
def remove(webhook: str, as_json: bool) -> None:
    """Remove a webhook, and the log of what was delivered to it."""
    connect().call("DELETE", f"/webhooks/{webhook}")
    if as_json:
        show_json({})
        return
    say(f"Webhook {webhook} is removed.")


@webhooks.command()
@_WEBHOOK
@click.option("--event", help="Which event to send an example of. [default: the first that it is for]")
@command
def test(webhook: str, event: str | None, as_json: bool) -> None:
    """Send an example of an event now, and say what came of it."""
    answer = connect().call("POST", f"/webhooks/{webhook}/test", {"event": event})
    if as_json:
        show_json(answer)
        return
    came = answer["error"] or f"It answered {answer['status']}."
    say(f"{came} ({answer['milliseconds']} ms)")
