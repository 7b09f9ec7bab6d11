"""`lockgate webhooks` and `lockgate deliveries`."""

from typing import Any

import click

from lockgate.cli.output import at, command, connect, say, show_json, table

_WEBHOOK = click.argument("webhook", metavar="ID")


class _Setting(click.ParamType[tuple[str, str]]):
    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, is_one, setting = str(value).partition("=")
        if not is_one or not name:
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name, setting


_SETTINGS = click.option(
    "--setting", "settings", multiple=True, type=_Setting(), help="What the dialect needs besides. Can be repeated."
)


@click.group()
def webhooks() -> None:
    """Who is told of what happens.

    \b
      lockgate webhooks add https://ci.example.com/lockgate --event promotion.done
      lockgate webhooks add https://hooks.slack.com/services/... --dialect slack --models 'payments-*'
      lockgate webhooks add https://gitlab.example.com --dialect gitlab --event promotion.done \\
          --setting project=42 --setting ref=main --setting token=...
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
@click.argument("url")
@click.option(
    "--event", "events", multiple=True, help="Of what: an event of the dialect. Can be repeated. [default: all]"
)
@click.option("--dialect", default="standard", show_default=True, help="standard, slack, teams, gitlab, github, ...")
@click.option("--models", default="*", show_default=True, help="About which models: a pattern.")
@click.option("--description", default="", help="What it is for.")
@click.option("--secret", help="What to sign with. Where the dialect signs and there is none, one is made.")
@click.option("--no-verify", is_flag=True, help="Don't ask for a certificate that the server trusts.")
@_SETTINGS
@command
def add(
    url: str,
    events: tuple[str, ...],
    dialect: str,
    models: str,
    description: str,
    secret: str | None,
    no_verify: bool,
    settings: tuple[tuple[str, str], ...],
    as_json: bool,
) -> None:
    """Tell URL of events from now on. The secret that its calls are signed with is shown once."""
    body = {
        "url": url,
        "events": list(events) or ["*"],
        "dialect": dialect,
        "models": models,
        "description": description,
        "secret": secret,
        "verify_certificate": not no_verify,
        "settings": dict(settings),
    }
    _show_once(connect().call("POST", "/webhooks", body), as_json)


@webhooks.command()
@_WEBHOOK
@click.option(
    "--drop-earlier", is_flag=True, help="The receiver has the new secret: don't sign with the earlier one any more."
)
@command
def secret(webhook: str, drop_earlier: bool, as_json: bool) -> None:
    """Sign with a new secret, shown once, and with the earlier one too, until --drop-earlier."""
    _show_once(connect().call("POST", f"/webhooks/{webhook}/secret", {"drop_earlier": drop_earlier}), as_json)


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


@click.group(invoke_without_command=True)
@click.option("--webhook", "webhook_id", metavar="ID", help="Only to this webhook.")
@click.option("--state", type=click.Choice(["waiting", "delivered", "parked"]), help="Only in this state.")
@click.option("--max", "most", type=click.IntRange(1, 200), default=50, show_default=True, help="How many.")
@click.pass_context
@command
def deliveries(ctx: click.Context, webhook_id: str | None, state: str | None, most: int, as_json: bool) -> None:
    """List what was delivered or waits to be, newest first."""
    if ctx.invoked_subcommand is not None:
        return
    found = connect().call("GET", "/deliveries", webhook_id=webhook_id, state=state, max_results=most)
    if as_json:
        show_json(found)
        return
    headings = ("ID", "AT", "WEBHOOK", "EVENT", "MODEL", "STATE", "ATTEMPTS", "LAST")
    table(headings, (_row(one) for one in found["deliveries"]), "Nothing was delivered, and nothing waits.")


def _row(delivery: dict[str, Any]) -> tuple[Any, ...]:
    last = delivery["attempts"][-1] if delivery["attempts"] else None
    came = "" if last is None else last["error"] or str(last["status"])
    return (
        delivery["id"],
        at(delivery["created_at"]),
        delivery["webhook_id"],
        delivery["event"],
        delivery["model"],
        delivery["state"],
        len(delivery["attempts"]),
        came,
    )


@deliveries.command()
@click.argument("number", metavar="ID", type=int)
@command
def redeliver(number: int, as_json: bool) -> None:
    """Deliver something once more, under the same id."""
    again = connect().call("POST", f"/deliveries/{number}/redeliver")
    if as_json:
        show_json(again)
        return
    say(f"Delivery {number} is {again['state']}.")
