"""The stage: a real `lockgate server` of its own, and the people of the story, let in with Lockgate's commands."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import requests
from mlflow import MlflowClient

LOCKGATE = Path(sys.executable).with_name("lockgate")
POLICY = Path(__file__).with_name("policy.yaml")
_PATIENCE = 90.0


class WentWrong(Exception):
    """A step of the demo did not do what it says."""


@dataclass(frozen=True)
class Member:
    """Somebody in the story."""

    name: str
    who: str
    options: tuple[str, ...]


CAST = (
    Member("junior", "a junior", ("--role", "contributor")),
    Member("dana", "a data scientist", ("--role", "contributor")),
    Member("sonia", "a senior, and on call", ("--group", "senior", "--role", "reviewer", "--role", "operator")),
    Member("ci", "the CI account", ("--kind", "service", "--role", "contributor", "--role", "releaser")),
    Member("release-bot", "the release bot", ("--kind", "service", "--role", "releaser")),
)


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int
    output: str
    complaint: str

    @property
    def json(self) -> Any:
        """What a command with `--json` printed."""
        return json.loads(self.output)


@dataclass
class Stage:
    """A server with people who may call it.

    Args:
        folder: Where its database, artifacts and log go. It is removed first.
    """

    folder: Path
    tokens: dict[str, str] = field(default_factory=lambda: {"admin": f"demo-{secrets.token_urlsafe(24)}"})
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _lock: int | None = None

    @property
    def uri(self) -> str:
        """Where the server is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "server.log"

    def prepare(self) -> None:
        """Make the folder anew; two demos at a time would take it from each other."""
        self._lock = os.open(POLICY.parent, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.folder.exists():
                shutil.rmtree(self.folder)
            (self.folder / "home").mkdir(parents=True)
        except BlockingIOError:
            raise WentWrong("Another demo runs in this checkout. Stop it first (Ctrl-C where it runs).") from None
        except OSError as error:
            raise WentWrong(f"{self.folder} can't be made anew: {error}. Remove it, or see who owns it.") from None

    def open(self) -> None:
        """Start the server and wait until it is ready."""
        self.port = _free_port()
        command = [
            str(LOCKGATE), "server",
            "--backend-store-uri", "sqlite:///mlflow.db",
            "--policy", str(POLICY),
            "--port", str(self.port),
            "--workers", "1",
        ]  # fmt: skip
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, "LOCKGATE_ADMIN_TOKEN": self.tokens["admin"]},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the demo, which then stops the server.
                start_new_session=True,
            )
        deadline = time.monotonic() + _PATIENCE
        while not self._is_ready():
            if self.has_ended():
                raise WentWrong(f"The server ended before it was ready. The end of its log:\n{self.end_of_log()}")
            if time.monotonic() > deadline:
                raise WentWrong(f"The server was not ready in {_PATIENCE:.0f} s. Its log:\n{self.end_of_log()}")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"{self.uri}/readyz", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    @property
    def has_begun(self) -> bool:
        """Whether the server was started."""
        return self._process is not None

    def has_ended(self) -> bool:
        """Say whether the server process is gone."""
        return self._process is None or self._process.poll() is not None

    def end_of_log(self, lines: int = 25) -> str:
        """Return the last lines of the server's log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """Stop the server: the process that `open` started, and its workers."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def let_in(self, member: Member) -> None:
        """Add somebody and give them a token."""
        self._done("admin", "users", "add", member.name, *member.options)
        self.tokens[member.name] = self._done("admin", "tokens", "create", member.name, "--expires", "1d").strip()

    def _done(self, who: str, *arguments: str) -> str:
        outcome = self.lockgate(who, *arguments)
        if outcome.code != 0:
            raise WentWrong(f"`lockgate {' '.join(arguments)}` by {who} was refused: {outcome.complaint}")
        return outcome.output

    def lockgate(self, who: str, *arguments: str) -> Outcome:
        """Run a command of Lockgate as somebody."""
        ran = subprocess.run(
            [str(LOCKGATE), *arguments],
            env={**os.environ, **self._credentials(who)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        return Outcome(ran.returncode, ran.stdout, ran.stderr.strip())

    @contextlib.contextmanager
    def mlflow_as(self, who: str) -> Iterator[MlflowClient]:
        """Be somebody with the mlflow client, which reads the token from the environment.

        What the client prints meanwhile goes to `mlflow.log` in the folder.
        """
        os.environ.update(self._credentials(who))
        mlflow.set_tracking_uri(self.uri)
        with (
            (self.folder / "mlflow.log").open("a") as log,
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
        ):
            try:
                yield MlflowClient()
            finally:
                del os.environ["MLFLOW_TRACKING_TOKEN"]

    def _credentials(self, who: str) -> dict[str, str]:
        return {"MLFLOW_TRACKING_URI": self.uri, "MLFLOW_TRACKING_TOKEN": self.tokens[who]}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
