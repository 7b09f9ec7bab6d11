"""Putting something before a method of one of MLflow's stores."""

from collections.abc import Callable
from typing import Any


def what_comes_next(store: type[Any], name: str) -> Callable[[Any], Callable[..., Any]]:
    """Return what finds the method that a wrapper goes on to; to be called before the wrapper is put in its place.

    That depends on the object: MLflow's stores for workspaces come between ours and the plain ones.

    Args:
        store: The class that gets the wrapper.
        name: The method's name.
    """
    own = vars(store).get(name)

    def find(self: Any) -> Callable[..., Any]:
        found: Callable[..., Any] = own.__get__(self) if own is not None else getattr(super(store, self), name)
        return found

    return find
