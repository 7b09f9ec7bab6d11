"""`lockgate policy`."""

from pathlib import Path

import click

from lockgate.cli.lazy import LazyGroup
from lockgate.cli.output import at, command, connect, say, show_json

POLICY_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=LazyGroup, lazy={"validate": ("validate:validate", "Check a policy file without a server.")})
def policy() -> None:
    """Policy as code: what must hold before a target moves.

    \b
    A policy that wants one senior's approval for production:
      version: 1
      rules:
        - name: production
          models: "*"
          targets: [stage:Production, alias:champion]
          gates:
            - {name: auc-floor, expr: "metrics.val_auc >= 0.85"}
          approvals: {required: 1, from: [group:senior]}
    """


@policy.command()
@click.argument("file", type=POLICY_FILE)
@command
def apply(file: Path, as_json: bool) -> None:
    """Put FILE in force. Requests that are open stay under the policy that they were opened under."""
    stored = connect().call("PUT", "/policies", {"source": read_text(file)})
    if as_json:
        show_json(stored)
        return
    say(f"Policy version {stored['version']} is in force.")


@policy.command()
@command
def show(as_json: bool) -> None:
    """Show the policy that is in force."""
    stored = connect().call("GET", "/policies")
    if as_json:
        show_json(stored)
        return
    since = f", applied by {stored['applied_by']} at {at(stored['applied_at'])}" if stored["applied_at"] else ""
    say(f"# version {stored['version']}{since or ': the default, until one is applied'}")
    say(stored["source"].rstrip())


def read_text(file: Path) -> str:
    """Return a file's text, or say that it is none."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise click.BadParameter(f"{file} is not UTF-8 text") from None
