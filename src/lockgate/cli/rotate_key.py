"""`lockgate rotate-key`."""

import importlib

import click

from lockgate.cli.output import command, say, show_json
from lockgate.errors import BadInput


@click.command("rotate-key")
@click.option(
    "--backend-store-uri",
    envvar="MLFLOW_BACKEND_STORE_URI",
    metavar="URI",
    help="The database of runs and models, as the server has it.",
)
@click.option(
    "--registry-store-uri",
    envvar="MLFLOW_REGISTRY_STORE_URI",
    metavar="URI",
    help="Database of registered models, if it is another one.",
)
@command
def rotate_key(backend_store_uri: str | None, registry_store_uri: str | None, as_json: bool) -> None:
    """Encrypt all secrets in the database with another key.

    LOCKGATE_SECRET_KEY holds the new key and the old one, separated by a comma: NEW,OLD. The first encrypts, all
    decrypt. Servers may run meanwhile. All of it is done at once or nothing, and can be done again.
    """
    uri = registry_store_uri or backend_store_uri
    if not uri:
        raise BadInput("Say which database: --backend-store-uri URI, as for `lockgate server`.")
    # It needs the whole of MLflow, so it is imported once it runs.
    told = importlib.import_module("lockgate.server.rotate_key").rotate_key(uri)
    if as_json:
        show_json({"done": told})
        return
    for sentence in told:
        say(sentence)
