"""Running the command that a check is about."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

#: For how long a command that was told to stop may go on: platforms kill the job soon after.
_GRACE_SECONDS = 5.0
_TOLD_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: What shells say of a command that they can't run.
_NOT_FOUND, _NOT_RUNNABLE = 127, 126


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    #: As a shell says it.
    code: int
    #: The same in words, without the command's arguments: these may hold secrets.
    summary: str

    @property
    def status(self) -> str:
        """What this makes of the check."""
        return "success" if self.code == 0 else "failure"


def run(command: Sequence[str]) -> Ended:
    """Run a command until it ends, or until this process is told to stop, which stops the command first.

    Args:
        command: The program and its arguments.
    """
    name, began = os.path.basename(command[0]), time.monotonic()
    try:
        with _told_to_stop() as told, subprocess.Popen(command) as process:  # noqa: S603 - what the caller asked for
            code = _wait(process, told)
    except FileNotFoundError:
        return Ended(_NOT_FOUND, f"There is no command '{name}' to run.")
    except OSError as error:
        return Ended(_NOT_RUNNABLE, f"'{name}' could not be run: {error.strerror}.")
    took = f"after {time.monotonic() - began:.0f} s"
    if told:
        return Ended(128 + told[0], f"The job was stopped ({signal.Signals(told[0]).name}) {took}.")
    if code < 0:
        return Ended(128 - code, f"'{name}' was ended by signal {-code} {took}.")
    return Ended(code, f"'{name}' {'succeeded' if code == 0 else f'ended with exit code {code}'} {took}.")


@contextmanager
def _told_to_stop() -> Iterator[list[int]]:
    """Note the signals that tell this process to stop, in place of stopping."""
    told: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        told.append(number)

    before = {number: signal.signal(number, note) for number in _TOLD_TO_STOP}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(process: "subprocess.Popen[bytes]", told: Sequence[int]) -> int:
    while not told:
        try:
            return process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    # A terminal's Ctrl-C has reached it already; nothing else has.
    process.send_signal(told[0])
    try:
        return process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
