"""`lockgate break-glass`, `break-glass-log`, `break-glass-review`, `hold`, `holds`, `unhold`, `freeze`, `freezes` and
`unfreeze`.
"""

import click

from lockgate.cli.output import at, command, connect, say, show_json, table

_REASON = click.option("--reason", required=True, help="Why; it goes on record.")
_TARGET = click.option("--target", help="Only for this target: stage:Production, alias:champion.")
_COMMENT = click.option("--comment", metavar="TEXT", help="Why; it goes on record.")


@click.command("break-glass")
@click.argument("model")
@click.argument("version")
@click.argument("target")
@_REASON
@click.option("--ticket", help="Where the emergency is tracked. The policy may want one.")
@command
def break_glass(model: str, version: str, target: str, reason: str, ticket: str | None, as_json: bool) -> None:
    """In an emergency, move TARGET of MODEL to VERSION although not everything is met.

    It is loud, and a second person with the role reviewer must review it in time (`lockgate break-glass-review`).
    When the time is over, nothing of the model is promoted until somebody has.
    """
    body = {"model": model, "version": version, "target": target, "reason": reason, "ticket": ticket}
    done = connect().call("POST", "/break-glass", body)
    if as_json:
        show_json(done)
        return
    before = done["previous_version"] or "nothing"
    say(f"{model} {done['target']}: version {done['version']} serves now (was {before}).")
    if done["unmet"]:
        say("What was missing, and is on record:")
        for sentence in done["unmet"]:
            say(f"  - {sentence}")
    say(f"A reviewer, as a second person, must review break-glass {done['break_glass']} by {at(done['review_by'])}:")
    say(f"  lockgate break-glass-review {done['break_glass']} --approve   (or --reject)")


@click.command("break-glass-log")
@click.option("--unreviewed", is_flag=True, help="Only those that nobody has reviewed.")
@command
def break_glass_log(unreviewed: bool, as_json: bool) -> None:
    """List the times that the glass was broken, newest first."""
    found = connect().call("GET", "/break-glass", unreviewed="true" if unreviewed else None)
    if as_json:
        show_json(found)
        return
    rows = (
        (b["id"], at(b["at"]), b["model"], b["version"], b["target"], b["by"], b["ticket"], _review(b), b["reason"])
        for b in found["break_glass"]
    )
    headings = ("ID", "AT", "MODEL", "VERSION", "TARGET", "BY", "TICKET", "REVIEW", "REASON")
    table(headings, rows, "The glass has not been broken.")


def _review(broken: dict[str, str]) -> str:
    if broken["verdict"]:
        return f"{broken['verdict']} by {broken['reviewer']}"
    return f"due {at(broken['review_by'])}"


@click.command("break-glass-review")
@click.argument("number", metavar="ID", type=int)
@click.option("--approve/--reject", "approve", required=True, default=None, help="Whether it was right.")
@_COMMENT
@command
def break_glass_review(number: int, approve: bool, comment: str | None, as_json: bool) -> None:
    """Review break-glass ID, as a second person with the role reviewer. Rejected, its version is put on hold."""
    body = {"verdict": "approve" if approve else "reject", "comment": comment}
    reviewed = connect().call("POST", f"/break-glass/{number}/review", body)
    if as_json:
        show_json(reviewed)
        return
    say(f"Break-glass {number} is reviewed: {reviewed['verdict']}.")
    if not approve:
        say(f"Version {reviewed['version']} is on hold. If it still serves {reviewed['target']}, take it out:")
        say(f"  lockgate rollback {reviewed['model']} {reviewed['target']} --reason ...")


@click.command()
@click.argument("model")
@click.argument("version")
@_TARGET
@_REASON
@command
def hold(model: str, version: str, target: str | None, reason: str, as_json: bool) -> None:
    """Keep VERSION of MODEL from being promoted until somebody lifts the hold. A rollback does so by itself."""
    body = {"model": model, "version": version, "target": target, "reason": reason}
    held = connect().call("POST", "/holds", body)
    if as_json:
        show_json(held)
        return
    say(f"Hold {held['id']}: {model} version {version} is not promoted until `lockgate unhold {held['id']}`.")


@click.command()
@command
def holds(as_json: bool) -> None:
    """List the holds that nobody has lifted."""
    found = connect().call("GET", "/holds")
    if as_json:
        show_json(found)
        return
    rows = (
        (h["id"], h["model"], h["version"], h["target"] or "all", h["by"], at(h["at"]), h["reason"])
        for h in found["holds"]
    )
    table(("ID", "MODEL", "VERSION", "TARGET", "BY", "AT", "REASON"), rows, "Nothing is on hold.")


@click.command()
@click.argument("number", metavar="ID", type=int)
@_COMMENT
@command
def unhold(number: int, comment: str | None, as_json: bool) -> None:
    """Lift hold ID: people who review, operate or maintain the model."""
    connect().call("DELETE", f"/holds/{number}", comment=comment)
    if as_json:
        show_json({"id": number, "lifted": True})
        return
    say(f"Hold {number} is lifted. The version still needs a request of its own.")


@click.command()
@click.argument("models")
@click.option("--from", "from_", metavar="TIME", help="When it begins; without it, now. 2026-12-23T12:00:00+01:00")
@click.option("--until", required=True, metavar="TIME", help="When it ends: 2027-01-02T08:00:00+01:00")
@_TARGET
@_REASON
@command
def freeze(models: str, from_: str | None, until: str, target: str | None, reason: str, as_json: bool) -> None:
    """Freeze the promotions of MODELS (a name or a pattern, such as 'payments-*') until a time."""
    body = {"models": models, "from": from_, "to": until, "target": target, "reason": reason}
    frozen = connect().call("POST", "/freezes", body)
    if as_json:
        show_json(frozen)
        return
    say(f"Freeze {frozen['id']}: nothing of '{models}' is promoted from {at(frozen['from'])} to {at(frozen['to'])}.")


@click.command()
@command
def freezes(as_json: bool) -> None:
    """List the one-off freezes that are coming or in force."""
    found = connect().call("GET", "/freezes")
    if as_json:
        show_json(found)
        return
    rows = (
        (f["id"], f["models"], f["target"] or "all", at(f["from"]), at(f["to"]), f["by"], f["reason"])
        for f in found["freezes"]
    )
    table(("ID", "MODELS", "TARGET", "FROM", "TO", "BY", "REASON"), rows, "Nothing is frozen.")


@click.command()
@click.argument("number", metavar="ID", type=int)
@_COMMENT
@command
def unfreeze(number: int, comment: str | None, as_json: bool) -> None:
    """End freeze ID before its time."""
    connect().call("DELETE", f"/freezes/{number}", comment=comment)
    if as_json:
        show_json({"id": number, "lifted": True})
        return
    say(f"Freeze {number} is over.")
