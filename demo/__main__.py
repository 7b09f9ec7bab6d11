"""`python -m demo [--keep]`: plays the story; exit code 0 if every step did what it says, else 1."""

import argparse
import importlib
import os
import signal
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".demo"

#: Processes that the demo starts inherit this too.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
_NOT_OURS = ("MLFLOW_", "_MLFLOW_", "LOCKGATE_", "DATABRICKS_")


def shut_out_settings() -> None:
    """Forget what the caller's environment and home folder say about MLflow, Lockgate and proxies.

    The home folder may hold credentials (`~/.mlflow/credentials`, `~/.netrc`), which the mlflow client would prefer to
    the tokens of the demo.
    """
    for name in list(os.environ):
        if name.startswith(_NOT_OURS) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(QUIET)
    os.environ["HOME"] = str(FOLDER / "home")


def end_on(number: int, _frame: object) -> None:
    """End as Ctrl-C does, so that the server is stopped."""
    sys.exit(128 + number)


def main() -> int:
    """Play the demo."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the server running at the end, until Ctrl-C")
    keep = parser.parse_args().keep
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end_on)
    shut_out_settings()
    try:
        # MLflow reads the environment when it is imported, so the story is imported only now.
        played: int = importlib.import_module("demo.story").play(FOLDER, keep)
    except KeyboardInterrupt:
        print("\nInterrupted. The server is stopped.", file=sys.stderr)
        return 130
    return played


if __name__ == "__main__":
    sys.exit(main())
