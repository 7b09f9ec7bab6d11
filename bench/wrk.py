"""Load by wrk, a client that costs so little that what is measured is the server.

`python -m bench.wrk` fetches it into a folder that is not committed, where the machine has none.
"""

import json
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.clients import CLIENTS, Call
from tests import debian

_HERE = Path(__file__).parent
_DEBIAN = _HERE / "tools/debian"
_UNPACKED = _DEBIAN / "usr/bin/wrk"


@dataclass(frozen=True)
class Borne:
    """How a server bore a load."""

    calls: int
    seconds: float
    #: In milliseconds.
    p50: float
    p99: float
    #: Calls that were answered with anything but success, and those that were not answered.
    failed: int
    #: Seconds of a processor that the client took.
    client: float

    @property
    def rate(self) -> float:
        """Calls a second that succeeded."""
        return max(self.calls - self.failed, 0) / self.seconds


def install() -> None:
    """Fetch wrk if there is none.

    Raises:
        SystemExit: if it can't be had.
    """
    if _program() is not None:
        return
    print("Fetching wrk ...", flush=True)
    try:
        debian.unpack(["wrk"], _DEBIAN)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"No wrk: {error}. Install it (Debian: apt-get install wrk) and call this again.") from error


def load(uri: str, token: str | None, calls: Sequence[Call], seconds: int, connections: int = CLIENTS) -> Borne:
    """Send calls over connections that stay open, again from the first one after the last, for some seconds.

    Args:
        uri: Where the server is.
        token: As whom; nobody without.
        calls: What is sent.
        seconds: How long.
        connections: How many calls there are at any moment.

    Raises:
        RuntimeError: if wrk could not do it.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as requests:
        requests.write("".join(map(_line, calls)))
        requests.flush()
        command = [_program() or "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s"]
        command += ["-s", str(_HERE / "wrk.lua"), "-H", "Content-Type: application/json"]
        command += [] if token is None else ["-H", f"Authorization: Bearer {token}"]
        before = _spent_by_children()
        done = subprocess.run(  # noqa: S603 - our own command
            [*command, uri, "--", requests.name],
            env=debian.environment(_DEBIAN), capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"wrk failed: {done.stdout}{done.stderr}")
    told = json.loads(done.stdout.splitlines()[-1])
    return Borne(
        told["calls"], told["seconds"], told["p50"], told["p99"], told["refused"] + told["broken"],
        _spent_by_children() - before,
    )  # fmt: skip


def _program() -> str | None:
    return str(_UNPACKED) if _UNPACKED.exists() else shutil.which("wrk")


def _line(call: Call) -> str:
    method, body = ("GET", "") if call.body is None else ("POST", json.dumps(call.body))
    return f"{method}\t{call.path}\t{body}\n"


def _spent_by_children() -> float:
    """Return what processes that have ended, and that this one started, took of a processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    install()
