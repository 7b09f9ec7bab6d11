"""`lockgate policy diff`, apart because it needs the policy's own code."""

from pathlib import Path

import click

from lockgate.cli.output import command, connect, say, show_json
from lockgate.cli.policy import POLICY_FILE, read_text
from lockgate.gates.document import read_policy
from lockgate.gates.weakening import weakenings


@click.command()
@click.argument("file", type=POLICY_FILE)
@command
def diff(file: Path, as_json: bool) -> None:
    """Show what FILE demands less than the policy in force; nothing is changed."""
    wanted = read_policy(read_text(file))
    stored = connect().call("GET", "/policies")
    found = weakenings(read_policy(stored["source"]), wanted)
    if as_json:
        show_json({"version": stored["version"], "weakens": found})
        return
    if not found:
        say(f"{file} weakens nothing of version {stored['version']}.")
        return
    say(f"{file} is weaker than version {stored['version']}:")
    for sentence in found:
        say(f"  - {sentence}")
