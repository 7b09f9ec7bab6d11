"""`lockgate policy validate`, apart because it alone needs the policy's own code."""

from pathlib import Path

import click

from lockgate.cli.output import command, say, show_json
from lockgate.cli.policy import POLICY_FILE, read_text
from lockgate.gates.document import read_policy


@click.command()
@click.argument("file", type=POLICY_FILE)
@command
def validate(file: Path, as_json: bool) -> None:
    """Check FILE without a server; errors name the line and what is allowed."""
    found = read_policy(read_text(file))
    if as_json:
        show_json(found.model_dump(mode="json", by_alias=True))
        return
    say(f"{file}: valid, {len(found.rules)} rule(s)")
