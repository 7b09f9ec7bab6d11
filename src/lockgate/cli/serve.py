"""`lockgate server`."""

import gc
import os
import runpy
from pathlib import Path
from typing import Any

import click

from lockgate.binding import Binding
from lockgate.errors import BadInput
from lockgate.identity_file import identity_file
from lockgate.settings import DEFAULT_BACKEND, ServerSettings
from lockgate.witnesses.named import check_witness


def _prefix(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str:
    if not value:
        return ""
    if not value.startswith("/") or value.endswith("/") or any(c in value for c in "{}?# "):
        raise click.BadParameter("must start with '/', and not end with it: /mlflow")
    return value


@click.command()
@click.option(
    "--backend-store-uri",
    envvar="MLFLOW_BACKEND_STORE_URI",
    metavar="URI",
    default=DEFAULT_BACKEND,
    show_default=True,
    help="Database of runs and models: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.",
)
@click.option(
    "--registry-store-uri",
    envvar="MLFLOW_REGISTRY_STORE_URI",
    metavar="URI",
    help="Database of registered models, if it is another one. Lockgate's own tables stand there.",
)
@click.option(
    "--default-artifact-root",
    envvar="MLFLOW_DEFAULT_ARTIFACT_ROOT",
    metavar="URI",
    help="Where new experiments keep artifacts. By default they go through this server.",
)
@click.option(
    "--artifacts-destination",
    envvar="MLFLOW_ARTIFACTS_DESTINATION",
    metavar="URI",
    default="./mlartifacts",
    show_default=True,
    help="Where the server keeps the artifacts that go through it.",
)
@click.option(
    "--serve-artifacts/--no-serve-artifacts",
    envvar="MLFLOW_SERVE_ARTIFACTS",
    default=True,
    show_default=True,
    help="Whether artifacts go through this server, which then knows who uploaded them.",
)
@click.option("--host", "-h", envvar="MLFLOW_HOST", default="127.0.0.1", show_default=True, help="Address to bind.")
@click.option("--port", "-p", envvar="MLFLOW_PORT", type=int, default=5000, show_default=True, help="Port to bind.")
@click.option(
    "--ssl-certfile",
    envvar="LOCKGATE_SSL_CERTFILE",
    type=click.Path(dir_okay=False),
    default="",
    help="Certificate to serve https with, and those that lead to a root (PEM).",
)
@click.option(
    "--ssl-keyfile",
    envvar="LOCKGATE_SSL_KEYFILE",
    type=click.Path(dir_okay=False),
    default="",
    help="Private key of the certificate (PEM).",
)
@click.option(
    "--behind-proxy",
    envvar="LOCKGATE_BEHIND_PROXY",
    metavar="ADDRESSES",
    default="",
    help="Proxies that serve https in front of this server: addresses or networks, comma-separated. Their "
    "X-Forwarded-For and X-Forwarded-Proto are believed, nobody else's.",
)
@click.option(
    "--insecure-http",
    envvar="LOCKGATE_INSECURE_HTTP",
    is_flag=True,
    help="Serve others over plain HTTP, where everybody on the way can read their tokens.",
)
@click.option(
    "--max-body-mb",
    envvar="LOCKGATE_MAX_BODY_MB",
    type=click.IntRange(1, 2_000),
    default=10,
    show_default=True,
    help="Largest body of a call of MLflow's API, in MB. Uploads of artifacts have no limit.",
)
@click.option(
    "--workers",
    "-w",
    envvar="MLFLOW_WORKERS",
    type=click.IntRange(1, 256),
    default=4,
    show_default=True,
    help="Worker processes.",
)
@click.option(
    "--static-prefix",
    envvar="MLFLOW_STATIC_PREFIX",
    callback=_prefix,
    help="Path that everything is served under, such as /mlflow.",
)
@click.option(
    "--allowed-hosts",
    envvar="MLFLOW_SERVER_ALLOWED_HOSTS",
    help="Host headers to accept, comma-separated (default: localhost and private addresses).",
)
@click.option(
    "--cors-allowed-origins",
    envvar="MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
    help="Origins that pages may call from, comma-separated (default: localhost).",
)
@click.option(
    "--x-frame-options",
    envvar="MLFLOW_SERVER_X_FRAME_OPTIONS",
    type=click.Choice(["SAMEORIGIN", "DENY", "NONE"], case_sensitive=False),
    default="SAMEORIGIN",
    show_default=True,
    help="Who may show MLflow's pages in a frame.",
)
@click.option(
    "--enable-workspaces/--disable-workspaces",
    envvar="MLFLOW_ENABLE_WORKSPACES",
    default=False,
    show_default=True,
    help="MLflow's workspaces.",
)
@click.option(
    "--policy",
    envvar="LOCKGATE_POLICY",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Policy file to put in force. Without one, stage:Production and alias:champion need one approval.",
)
@click.option(
    "--identity",
    envvar="LOCKGATE_IDENTITY",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File that says which OpenID providers, CI platforms and proxies vouch for callers.",
)
@click.option(
    "--public-url",
    envvar="LOCKGATE_PUBLIC_URL",
    default="",
    help="How people reach this server, for links in refusals (default: as each call says).",
)
@click.option(
    "--checkpoint-to",
    envvar="LOCKGATE_CHECKPOINT_TO",
    multiple=True,
    metavar="URI",
    help="Where signed checkpoints of the audit log are kept, outside the database: /path/checkpoints.jsonl, "
    "s3://BUCKET/PREFIX, https://HOST/PATH or git:/path/of/repository. Can be given several times.",
)
@click.option(
    "--checkpoint-entries",
    envvar="LOCKGATE_CHECKPOINT_ENTRIES",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="After how many new audit entries there is a checkpoint, however short the time.",
)
@click.option(
    "--checkpoint-seconds",
    envvar="LOCKGATE_CHECKPOINT_SECONDS",
    type=click.IntRange(1),
    default=60,
    show_default=True,
    help="After how many seconds there is a checkpoint if there are new audit entries.",
)
@click.option(
    "--acknowledge-restore",
    envvar="LOCKGATE_ACKNOWLEDGE_RESTORE",
    metavar="REASON",
    default="",
    help="Start although the database is older than its last checkpoint, because it was restored. The reason is "
    "put on record; take it away after that start.",
)
def server(
    host: str,
    port: int,
    ssl_certfile: str,
    ssl_keyfile: str,
    behind_proxy: str,
    insecure_http: bool,
    workers: int,
    policy: Path | None,
    identity: Path | None,
    checkpoint_to: tuple[str, ...],
    checkpoint_entries: int,
    checkpoint_seconds: int,
    acknowledge_restore: str,
    **options: Any,
) -> None:
    """Run MLflow's server with the gate in it.

    Takes the flags of `mlflow server`, on the same database: one that a stock server used is taken over as it is, and a
    stock server could take it back.

    \b
      lockgate server                                          SQLite in ./mlflow.db
      lockgate server --backend-store-uri postgresql://...     a team's server
      lockgate server --policy policy.yaml                     with your own rules

    The first start prints a URL to sign in with, once; or set LOCKGATE_ADMIN_TOKEN to a long random secret (24
    characters or more), which is then a token of the principal `admin`.
    """
    binding = Binding(host, port, ssl_certfile, ssl_keyfile, behind_proxy, insecure_http)
    try:
        binding.check(identity is not None and identity_file(str(identity)).trusted_proxies is not None)
        for uri in checkpoint_to:
            check_witness(uri)
    except BadInput as error:
        raise click.UsageError(error.message) from None
    os.environ.update(ServerSettings(**options).environment())
    os.environ.update(binding.environment())
    os.environ["LOCKGATE_WORKERS"] = str(workers)
    os.environ["LOCKGATE_CHECKPOINT_TO"] = " ".join(checkpoint_to)
    os.environ["LOCKGATE_CHECKPOINT_ENTRIES"] = str(checkpoint_entries)
    os.environ["LOCKGATE_CHECKPOINT_SECONDS"] = str(checkpoint_seconds)
    os.environ["LOCKGATE_ACKNOWLEDGE_RESTORE"] = acknowledge_restore
    if policy is not None:
        os.environ["LOCKGATE_POLICY"] = str(policy)
    if identity is not None:
        os.environ["LOCKGATE_IDENTITY"] = str(identity)
    # What is imported now stays: to look through it for garbage meanwhile makes a start longer by a quarter.
    gc.disable()
    runpy.run_module("lockgate.server.main", run_name="__main__", alter_sys=True)
