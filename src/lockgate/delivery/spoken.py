"""The dialects that this server speaks: those that come with it, and those whose templates somebody has added."""

import functools
import os
from collections.abc import Mapping
from pathlib import Path

from lockgate.errors import BadInput
from lockgate.events.dialect import Dialect
from lockgate.events.dialects.named import dialects

_TEMPLATES = "LOCKGATE_WEBHOOK_TEMPLATES"


@functools.cache
def spoken() -> Mapping[str, Dialect]:
    """Return the dialects by name, as the environment of this process says.

    Raises:
        BadInput: if LOCKGATE_WEBHOOK_TEMPLATES is no folder, or a template in it is malformed.
    """
    folder = os.environ.get(_TEMPLATES)
    workspaces = os.environ.get("MLFLOW_ENABLE_WORKSPACES", "").lower() in ("true", "1")
    return dialects(Path(folder) if folder else None, workspaces)


def dialect(name: str) -> Dialect:
    """Return the dialect of a name.

    Raises:
        BadInput: if there is none.
    """
    found = spoken().get(name)
    if found is None:
        raise BadInput(f"There is no dialect '{name}'. There are: {', '.join(sorted(spoken()))}.")
    return found
