"""What is measured on: the machine, and what runs there."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def described(databases: Sequence[str]) -> str:
    """Return what is measured on, in words.

    Args:
        databases: What runs the databases, with versions.
    """
    system = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in system.splitlines() if line.startswith("model name")]
    processor = models[0] if models else platform.machine()
    programs = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in ("mlflow", "lockgate"))]
    # Who reads the table may want to know whether others used the machine as it began.
    load = f"a load of {os.getloadavg()[0]:.1f} before"
    day = datetime.now(UTC).date().isoformat()
    return ", ".join((day, f"{processor}, {os.cpu_count()} cores", load, *programs, *databases))
