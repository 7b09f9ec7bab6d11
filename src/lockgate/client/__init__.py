"""What callers import to talk to a server. Installs and imports without the server.

`evaluation`, `dataset` and `measurement` run models, in CI, and import MLflow; the rest does not.

In: a call. Out: the server's JSON, or an error that says what is missing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockgate.client.registry import LockgateClient as LockgateClient


def __getattr__(name: str) -> Any:
    """Import MLflow only for who wants its client."""
    if name == "LockgateClient":
        from lockgate.client.registry import LockgateClient  # noqa: PLC0415

        return LockgateClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
