"""MLflow's own authentication is kept out: who is calling, and what they may, is known by then."""

import sys
from types import ModuleType
from typing import cast

_MODULE = "mlflow.server.auth"


def keep_out() -> None:
    """Make loading MLflow's own authentication fail at once, which its handlers take for not being installed.

    A search of runs, and GraphQL, would otherwise try to load it each time: with its Flask-WTF they would then ask it
    who is calling; without, each would read the whole of it until it fails, and those that come meanwhile would find
    half of it and be answered with 500.
    """
    # Python's own mark of a module that can't be imported; `sys.modules` is not typed for it.
    sys.modules[_MODULE] = cast("ModuleType", None)
