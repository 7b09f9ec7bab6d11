"""`lockgate deliveries`: what was delivered to webhooks, or waits to be."""

from typing import Any

import click

from lockgate.cli.output import at, command, connect, say, say_all, show_json, table


@click.group(invoke_without_command=True)
@click.option("--webhook", "webhook_id", metavar="ID", help="Only to this webhook.")
@click.option("--state", type=click.Choice(["waiting", "delivered", "parked"]), help="Only in this state.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many.")
@click.option("--page", "page_token", metavar="TOKEN", help="Go on where the list before ended: it says how.")
@click.pass_context
@command
def deliveries(
    ctx: click.Context,
    webhook_id: str | None,
    state: str | None,
    limit: int,
    page_token: str | None,
    as_json: bool,
) -> None:
    """List what was delivered or waits to be, newest first."""
    if ctx.invoked_subcommand is not None:
        return
    found = connect().call(
        "GET", "/deliveries", webhook_id=webhook_id, state=state, page_token=page_token, max_results=limit
    )
    if as_json:
        show_json(found)
        return
    headings = ("ID", "AT", "WEBHOOK", "EVENT", "MODEL", "STATE", "ATTEMPTS", "LAST")
    table(headings, (_row(one) for one in found["deliveries"]), "Nothing was delivered, and nothing waits.")
    if found["next_page_token"]:
        say(f"Older ones: the same with --page {found['next_page_token']}")


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


@deliveries.command("show")
@click.argument("number", metavar="ID", type=int)
@command
def show_delivery(number: int, as_json: bool) -> None:
    """Show a delivery, all attempts, and the call as it would be made now, with dots in place of what is secret."""
    found = connect().call("GET", f"/deliveries/{number}")
    if as_json:
        show_json(found)
        return
    shown = [
        ("delivery", found["id"]),
        ("state", found["state"]),
        ("event", found["event"]),
        ("model", found["model"]),
        ("webhook", found["webhook_id"]),
        ("message id", found["message_id"]),
        ("made", at(found["created_at"])),
        ("finished", at(found["finished_at"])),
    ]
    say_all(shown)
    say("")
    rows = ((a["number"], at(a["at"]), a["status"], a["error"], a["milliseconds"]) for a in found["attempts"])
    table(("ATTEMPT", "AT", "STATUS", "ERROR", "MS"), rows, "It was not attempted yet.")
    say("")
    call = found["call"]
    if call is None:
        say(found["why_no_call"])
        return
    say(f"{call['method']} {call['url']}")
    say_all(call["headers"].items())
    say("")
    say(call["body"])


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
