"""`lockgate policy apply`, apart because it needs the policy's own code."""

from pathlib import Path

import click

from lockgate.cli.output import command, connect, say, show_json
from lockgate.cli.policy import POLICY_FILE, read_text
from lockgate.gates.document import read_policy
from lockgate.gates.weakening import weakenings


@click.command()
@click.argument("file", type=POLICY_FILE)
@command
def apply(file: Path, as_json: bool) -> None:
    """Put FILE in force. Requests that are open stay under the policy that they were opened under.

    A policy that is weaker than the one in force waits for somebody else's approval (`lockgate policy approve`).
    """
    source = read_text(file)
    before = connect().call("GET", "/policies")
    stored = connect().call("PUT", "/policies", {"source": source})
    if as_json:
        show_json(stored)
        return
    say(f"Policy version {stored['version']} is in force.")
    if stored["unknown"]:
        said = ", ".join(stored["unknown"])
        say(f"It names {said}, and nobody is that yet. `lockgate users add` or an access file adds people and groups.")
    weaker = weakenings(read_policy(before["source"]), read_policy(source))
    if weaker:
        say(f"It demands less than version {before['version']}:")
        for sentence in weaker:
            say(f"  - {sentence}")
