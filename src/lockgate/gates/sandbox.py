"""Evaluating CEL in a process of its own, which can be ended: for all whose cost is not plainly small."""

import atexit
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from lockgate.gates import evaluation
from lockgate.gates.evaluation import CPU_SECONDS, MAX_MEMORY, Outcome

#: For what does not count as work: waiting for the processor, for the start, for a turn.
PATIENCE_SECONDS = 10.0

#: What Python needs to find itself and CEL. Secrets of the server are none of its business.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LC_ALL", "LANG")


class Sandbox:
    """A warm process that evaluates one expression at a time, started on first use and anew after it was ended."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, text: str, variables: Mapping[str, Any]) -> Outcome:
        """Evaluate an expression; one that takes too much is stopped."""
        question = pickle.dumps((text, _plain(variables)))
        if not self._turn.acquire(timeout=PATIENCE_SECONDS):
            return Outcome("stopped", said=f"other expressions kept it waiting for {PATIENCE_SECONDS:g} s")
        try:
            return self._ask(question)
        finally:
            self._turn.release()

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            _reap(process)

    def _ask(self, question: bytes) -> Outcome:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            process.stdin.write(question)
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = b""
        finally:
            watchdog.cancel()
        if answer.endswith(b"\n"):
            return Outcome(**json.loads(answer))
        process.kill()
        _reap(process)
        # At once, so that it is warm when the next one comes.
        self._process = _start()
        return Outcome("stopped", said=_why(process.returncode))

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = _start()
        return self._process


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own interpreter, our own file
        [sys.executable, "-P", evaluation.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        # Ctrl+C in the server's terminal is the server's to answer.
        start_new_session=True,
    )


def _reap(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        try:
            pipe.close()
        except BrokenPipeError:
            # Half a question was still to be written.
            continue


def _why(returncode: int) -> str:
    if returncode == -signal.SIGPROF:
        return f"it took longer than {CPU_SECONDS:g} s"
    if returncode == -signal.SIGABRT:
        return f"it needed more than {MAX_MEMORY // 1024**2} MB of memory"
    return f"its process ended early ({returncode}), without an answer within {PATIENCE_SECONDS:g} s"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


_sandbox = Sandbox()


def run(text: str, variables: Mapping[str, Any]) -> Outcome:
    """Evaluate an expression in the sandbox of this process, or in the one apart."""
    return (_apart.get() or _sandbox).run(text, variables)


_apart: ContextVar[Sandbox | None] = ContextVar("lockgate_sandbox_apart", default=None)


@contextmanager
def apart() -> Iterator[None]:
    """Evaluate what the block evaluates in a sandbox of its own, so that no promotion waits for its turn behind it."""
    sandbox = Sandbox()
    token = _apart.set(sandbox)
    try:
        yield
    finally:
        _apart.reset(token)
        sandbox.close()


def _forget() -> None:
    # A fork shares the pipes with its parent, and perhaps a lock that nobody will release.
    global _sandbox
    _inherited.append(_sandbox)
    _sandbox = Sandbox()


#: Kept so that nobody closes or waits for what belongs to the parent.
_inherited: list[Sandbox] = []

os.register_at_fork(after_in_child=_forget)
atexit.register(lambda: _sandbox.close())
