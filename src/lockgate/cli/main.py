"""The command and its subcommands."""

import click

from lockgate import __version__
from lockgate.cli.lazy import LazyGroup

#: Where each command is, and what `lockgate --help` says of it.
_COMMANDS = {
    "server": ("serve:server", "Run MLflow's server with the gate in it."),
    "request": ("requests:request", "Ask for a promotion."),
    "requests": ("requests:requests", "List promotion requests."),
    "show": ("requests:show", "Show a promotion request and what it still needs."),
    "approve": ("requests:approve", "Approve a promotion request."),
    "reject": ("requests:reject", "Reject a promotion request."),
    "withdraw": ("requests:withdraw", "Take a promotion request back."),
    "comment": ("requests:comment", "Say something about a promotion request."),
    "re-request": ("requests:re_request", "Ask people to review a request, or to review it again."),
    "lift": ("requests:lift", "Lift the rejection of a request."),
    "promote": ("requests:promote", "Carry out an approved promotion request."),
    "check": ("models:check", "Report what CI found about a version."),
    "ci": ("ci:ci", "In a pipeline: ask, wait for the decision, report checks, read what to deploy."),
    "evaluate": ("evaluate:evaluate", "Evaluate a version beside the incumbent, and report it as a check."),
    "rollback": ("models:rollback", "Return a target to the version that served before."),
    "hold": ("safety:hold", "Keep a version from being promoted."),
    "holds": ("safety:holds", "List holds."),
    "unhold": ("safety:unhold", "Lift a hold."),
    "freeze": ("safety:freeze", "Freeze promotions for a time."),
    "freezes": ("safety:freezes", "List one-off freezes."),
    "unfreeze": ("safety:unfreeze", "End a one-off freeze."),
    "break-glass": ("safety:break_glass", "Move a target past the gate in an emergency."),
    "break-glass-log": ("safety:break_glass_log", "List the times that the glass was broken."),
    "break-glass-review": ("safety:break_glass_review", "Review a break-glass, as a second person."),
    "history": ("models:history", "Show who held a model's targets, and by whose decision."),
    "report": ("report:report", "Report on a model: its versions, their metrics, who holds what."),
    "lineage": ("lineage:lineage", "Find versions by their runs, data and code."),
    "policy": ("policy:policy", "Validate, apply and show the policy."),
    "whoami": ("people:whoami", "Show who you are to the server, and what you may do."),
    "users": ("people:users", "Add and list people and service accounts."),
    "tokens": ("people:tokens", "Create, list and revoke tokens."),
    "access": ("access:access", "People and rights as a file; who may do what, and why."),
    "identities": ("identities:identities", "Link people to OpenID providers."),
    "webhooks": ("webhooks:webhooks", "Set up who is told of what happens."),
    "deliveries": ("deliveries:deliveries", "List what was delivered, and deliver it once more."),
    "audit": ("audit:audit", "Read, export and prove the audit log."),
    "doctor": ("doctor:doctor", "See that the database's guard is whole, and what no decision explains."),
    "rotate-key": ("rotate_key:rotate_key", "Encrypt all secrets in the database with another key."),
    "init-db": ("doctor:init_db", "Prepare a PostgreSQL database with a role for each who uses it."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lockgate")
def main() -> None:
    """Lockgate: `mlflow server` with a gate in it.

    `lockgate server` runs the server. All other commands talk to the one that MLFLOW_TRACKING_URI names, as whoever
    MLFLOW_TRACKING_TOKEN (or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD) is: the same variables as for
    the mlflow client.

    \b
    The way of a promotion:
      lockgate request fraud-detector 3 alias:champion
      lockgate check fraud-detector 3 staging-validation --status success
      lockgate approve 7
      lockgate promote 7
      lockgate rollback fraud-detector alias:champion --reason "..."

    Exit codes: 0 done, 1 refused or failed (with the reason on stderr), 2 wrong usage.
    """
