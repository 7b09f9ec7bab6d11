"""Starting the server: the database is brought up to date, an admin exists, then uvicorn serves.

Run as a module, in an environment that `lockgate.settings` has prepared: MLflow reads it when it is imported.
"""

import gc
import multiprocessing
import os
import socket
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import uvicorn
import uvicorn._subprocess
from mlflow.exceptions import MlflowException
from mlflow.server import _UVICORN_LOG_CONFIG
from packaging.specifiers import SpecifierSet
from rich.console import Console
from sqlalchemy import Engine

from lockgate import __version__
from lockgate.access.principals import LOCKGATE, calling
from lockgate.binding import Binding
from lockgate.database.engine import engine_for, now, real_uri
from lockgate.database.guard.placing import put_in_place, was_there
from lockgate.database.migrate import Schema, prepare_database, schema_of, turn
from lockgate.database.secret_key import check_secret_key
from lockgate.delivery.addresses import Allowed
from lockgate.delivery.relay import Relay
from lockgate.delivery.retention import read_retention
from lockgate.delivery.schedule import read_schedule
from lockgate.delivery.spoken import spoken
from lockgate.errors import BadInput, LockgateError
from lockgate.identity_file import identity_file
from lockgate.registry.adoption import adopt_all
from lockgate.registry.transaction import transaction
from lockgate.server import app as _app_is_loaded  # noqa: F401  # for the workers to share
from lockgate.settings import BACKEND, REGISTRY, real_location
from lockgate.workflow import people, policies
from lockgate.workflow.checkpoints import Schedule, check_start
from lockgate.workflow.sealed import seal_what_serves
from lockgate.workflow.secret_keys import unopened
from lockgate.workflow.stores import disconnect, stores

#: The versions of MLflow that the tests ran with.
TESTED_MLFLOW = SpecifierSet(">=3.17.2,<3.18")

_LONG_ENOUGH = 24
#: How long calls may take that are under way when the server is told to stop, in seconds.
FINISH_WITHIN = 60
_console = Console(stderr=True, highlight=False, soft_wrap=True)


def serve(binding: Binding, workers: int, policy_file: str | None) -> None:
    """Prepare the database and serve until told to stop."""
    if (warning := untested(version("mlflow"))) is not None:
        _console.print(warning, style="yellow")
    _check_free(binding.host, binding.port)
    _check_settings()
    token = admin_token()
    with calling(LOCKGATE):
        once = _prepare(policy_file, token)
    _say_where(binding, once)
    _share_what_is_loaded()
    uvicorn.run(
        "lockgate.server.app:create_app",
        factory=True,
        host=binding.host,
        port=binding.port,
        workers=workers,
        ssl_certfile=binding.ssl_certfile or None,
        ssl_keyfile=binding.ssl_keyfile or None,
        http="lockgate.server.protocol:BoundedProtocol",
        log_config=str(_UVICORN_LOG_CONFIG),
        server_header=False,
        # `lockgate.server.proxies` decides whose word is taken on where a call comes from.
        proxy_headers=False,
        # Told to stop, a worker takes no further calls and finishes those that are under way.
        timeout_graceful_shutdown=FINISH_WITHIN,
    )


def _check_settings() -> None:
    """Refuse what workers would fail at, before anything is changed or promised."""
    identity_file(os.environ.get("LOCKGATE_IDENTITY"))
    check_secret_key()
    Allowed.read()
    Relay.read()
    read_schedule()
    read_retention()
    spoken()


def _share_what_is_loaded() -> None:
    """Let workers be forked from this process, with all that it has imported: they are there at once, and share memory.

    By itself uvicorn lets each of them import everything anew, which takes several seconds of a processor. Elsewhere
    than on Linux it does: system libraries of macOS may crash after a fork
    (https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods).
    """
    gc.freeze()
    if sys.platform == "linux":
        # A connection is of one process only.
        disconnect(stores())
        uvicorn._subprocess.spawn = multiprocessing.get_context("fork")  # type: ignore[assignment]


def _check_free(host: str, port: int) -> None:
    """Refuse a port that is taken before anything is changed or promised."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise BadInput(
            f"Can't listen on {host} port {port} ({error.strerror}). Choose another port (`--port 5001`, and "
            "MLFLOW_TRACKING_URI to match), or end what listens there."
        ) from None


def admin_token(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the token that the principal `admin` shall have, if there is to be one.

    Raises:
        BadInput: if it is short enough to be guessed.
    """
    token = environment.get("LOCKGATE_ADMIN_TOKEN") or None
    if token is not None and len(token) < _LONG_ENOUGH:
        raise BadInput(
            f"LOCKGATE_ADMIN_TOKEN has fewer than {_LONG_ENOUGH} characters and could be guessed. Use a long "
            "random one, such as `openssl rand -hex 24` makes."
        )
    return token


def _prepare(policy_file: str | None, token: str | None) -> str | None:
    registry = real_uri(real_location(REGISTRY))
    for uri in dict.fromkeys((registry, real_uri(real_location(BACKEND)))):
        prepare_database(uri)
    engine = engine_for(registry)
    # Before anything but the signing key is written: what is written now would be taken for what was there.
    check_start(engine, Schedule.read(), os.environ.get("LOCKGATE_ACKNOWLEDGE_RESTORE", "").strip())
    # A newer server that has migrated the database has put its own guard there.
    wrong = put_in_place(registry) if schema_of(engine) is Schema.CURRENT else []
    if wrong:
        # Where there was none, all of it was missing, and nothing is wrong.
        told = wrong[:3] if was_there(engine) else []
        _console.print(" ".join(["Put the guard into the database.", *told]), markup=False)
    # Servers that start together find what the first of them has written.
    with turn(engine):
        once = _furnish(engine, policy_file, token)
    for sentence in unopened(engine):
        _console.print(sentence, style="yellow", markup=False)
    return once


def _furnish(engine: Engine, policy_file: str | None, token: str | None) -> str | None:
    with transaction(engine) as session:
        adopted = adopt_all(session, now(session))
    if adopted:
        _console.print(f"Took over {adopted} registered model(s) that were made before Lockgate.")
    if policy_file:
        _console.print(policies.apply_at_start(stores(), Path(policy_file).read_text(encoding="utf-8")), markup=False)
    seal_what_serves(stores())
    return people.ensure_admin(engine, token)


def untested(installed: str) -> str | None:
    """Say that a version of MLflow is not one that the tests ran with; None if it is."""
    if installed in TESTED_MLFLOW:
        return None
    return (
        f"Lockgate {__version__} was tested with MLflow {TESTED_MLFLOW}, and {installed} is installed. "
        "It may refuse or miss what is new there. Install a tested version for production."
    )


def _say_where(binding: Binding, once: str | None) -> None:
    shown = "localhost" if binding.host in ("127.0.0.1", "0.0.0.0", "::", "::1") else binding.host  # noqa: S104
    prefix = os.environ.get("_MLFLOW_STATIC_PREFIX", "").rstrip("/")
    url = os.environ.get("LOCKGATE_PUBLIC_URL") or f"{binding.scheme}://{shown}:{binding.port}{prefix}"
    _console.print(f"Lockgate {__version__} starts to serve MLflow {version('mlflow')} at {url}")
    _console.print(f"It is ready when {url}/readyz answers; that takes some seconds.")
    if once is not None:
        _console.print("Nobody has signed in as admin yet. This works once, within an hour, and gives you a token:")
        _console.print(f"  {url}/lockgate/sign-in?token={once}", markup=False)


def main() -> None:
    """Serve as the environment says; end with a sentence, not a stack trace, if that can't be."""
    gc.enable()
    try:
        serve(
            binding=Binding.read(),
            workers=int(os.environ["LOCKGATE_WORKERS"]),
            policy_file=os.environ.get("LOCKGATE_POLICY"),
        )
    except (LockgateError, MlflowException, OSError) as error:
        _console.print(f"lockgate: {error}", style="red", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
