"""`lockgate policy`."""

from pathlib import Path

import click

from lockgate.cli.lazy import LazyGroup
from lockgate.cli.output import at, command, connect, say, show_json, table

POLICY_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


_LAZY = {
    "validate": ("validate:validate", "Check a policy file without a server."),
    "diff": ("policy_diff:diff", "Show what a policy file would weaken."),
    "changes": ("policy_changes:changes", "List policies that wait for approval."),
    "approve": ("policy_changes:approve", "Approve a policy that weakens the one in force."),
    "reject": ("policy_changes:reject", "Reject such a policy, or take one's own back."),
}


@click.group(cls=LazyGroup, lazy=_LAZY)
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
    """Put FILE in force. Requests that are open stay under the policy that they were opened under.

    A policy that is weaker than the one in force waits for somebody else's approval (`lockgate policy approve`).
    """
    stored = connect().call("PUT", "/policies", {"source": read_text(file)})
    if as_json:
        show_json(stored)
        return
    say(f"Policy version {stored['version']} is in force.")


@policy.command()
@click.option("--version", type=click.IntRange(0), help="Of this version, not of the one in force; 0 is the default.")
@command
def show(version: int | None, as_json: bool) -> None:
    """Show the policy that is in force."""
    stored = connect().call("GET", "/policies" if version is None else f"/policies/versions/{version}")
    if as_json:
        show_json(stored)
        return
    since = f", applied by {stored['applied_by']} at {at(stored['applied_at'])}" if stored["applied_at"] else ""
    say(f"# version {stored['version']}{since or ': the default, until one is applied'}")
    say(stored["source"].rstrip())


@policy.command()
@command
def versions(as_json: bool) -> None:
    """List all versions, newest first."""
    found = connect().call("GET", "/policies/versions")
    if as_json:
        show_json(found)
        return
    rows = ((stored["version"], stored["applied_by"], at(stored["applied_at"])) for stored in found["versions"])
    table(("VERSION", "BY", "AT"), rows, "No policy has been applied; the default one is in force.")


def read_text(file: Path) -> str:
    """Return a file's text, or say that it is none."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise click.BadParameter(f"{file} is not UTF-8 text") from None
