"""`lockgate doctor` and `lockgate init-db`."""

import importlib
import sys

import click

from lockgate.cli.output import at as shown_at
from lockgate.cli.output import command, connect, say, show_json, table
from lockgate.errors import BadInput

_DATABASE = click.option(
    "--backend-store-uri",
    envvar="MLFLOW_BACKEND_STORE_URI",
    metavar="URI",
    help="The database of registered models, as a role that owns its tables.",
)


@click.command()
@click.option("--repair", is_flag=True, help="Put the guard in the database back as it should be.")
@click.option("--remove-guard", is_flag=True, help="Take the guard out of a database, for a stock server to use it.")
@_DATABASE
@command
def doctor(repair: bool, remove_guard: bool, backend_store_uri: str | None, as_json: bool) -> None:
    """Compare the guard in the database with what it should be, and list what no decision explains. For admins.

    Exit code 1 if the guard is not what it should be, somebody else may do what it rests on, a place that keeps
    checkpoints contradicts the log or can't be asked, or a secret was encrypted with another key.

    `--remove-guard` asks no server, but the database itself; stop `lockgate server` first, which is not ready without a
    guard and puts it back when it starts, if its role owns the tables; else `lockgate init-db` does.
    """
    if remove_guard:
        _remove(backend_store_uri)
        return
    server = connect()
    found = server.call("POST", "/doctor/repair") if repair else server.call("GET", "/doctor")
    if as_json:
        show_json(found)
    else:
        for sentence in [*found["guard"], *found["access"], *found["checkpoints"], *found["secrets"], *found["notes"]]:
            say(sentence)
        if not found["guard"]:
            say(f"The guard in the database is as it should be ({found['fingerprint'][:12]}).")
        rows = (
            (one["workspace"], one["model"], one["target"], one["version"], shown_at(one["since"]), one["why"])
            for one in found["pointers"]
        )
        headings = ("WORKSPACE", "MODEL", "TARGET", "VERSION", "SINCE", "WHY NO DECISION EXPLAINS IT")
        table(headings, rows, "A decision explains everything that protected targets hold.")
    if not found["ok"]:
        sys.exit(1)


def _remove(uri: str | None) -> None:
    if not uri:
        raise click.UsageError("Say which database: --backend-store-uri URI.")
    # It needs the whole of MLflow, which no other command imports.
    importlib.import_module("lockgate.server.remove_guard").remove_guard(uri)
    say(
        "The guard is gone: whoever may write to the database can move any target. `lockgate server` puts it back, or "
        "`lockgate init-db` where its role does not own the tables."
    )


@click.command("init-db")
@_DATABASE
@click.option("--owner", default="lockgate_owner", show_default=True, help="Role that owns all tables.")
@click.option("--app", default="lockgate", show_default=True, help="Role of `lockgate server`.")
@click.option("--others", default="mlflow_user", show_default=True, help="Role of all else that uses MLflow's tables.")
@command
def init_db(backend_store_uri: str | None, owner: str, app: str, others: str, as_json: bool) -> None:
    """Prepare a PostgreSQL database: tables, guard, and a role for each who uses it. Run it again after an upgrade.

    The URI names a role that may make roles and owns the tables that are there, or a superuser.
    """
    if not backend_store_uri:
        raise BadInput("Say which database: --backend-store-uri postgresql://USER:PASSWORD@HOST/NAME.")
    told = importlib.import_module("lockgate.server.init_db").init_db(backend_store_uri, owner, app, others)
    if as_json:
        show_json({"done": told})
        return
    for sentence in told:
        say(sentence)
