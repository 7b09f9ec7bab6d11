"""Noting who had a hand in runs, logged models and artifact folders. MLflow's own user fields and tags can be
written by anybody and count for nothing here.
"""

from sqlalchemy import Engine

from lockgate.access.principals import current_caller
from lockgate.database import authors
from lockgate.database.engine import now
from lockgate.registry.transaction import transaction

RUN = "run"
LOGGED_MODEL = "model"
ARTIFACTS = "artifacts"

_FORGET_AFTER = 100_000


class Authorship:
    """Writes down, once each, that a principal had a hand in something.

    What has been written is remembered, so that a training loop that logs a thousand metrics pays once.

    Args:
        engine: The registry's database, where our tables are.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._written: set[tuple[str, str, int]] = set()

    def note(self, kind: str, thing: str | None) -> None:
        """Note that the caller has a hand in something, before it is done.

        Args:
            kind: One of `RUN`, `LOGGED_MODEL`, `ARTIFACTS`.
            thing: The id of the run or logged model, or the folder's path. None is ignored.
        """
        if not thing or not isinstance(thing, str) or "\0" in thing:
            return
        who = current_caller().principal.id
        if (kind, thing, who) in self._written:
            return
        with transaction(self._engine) as session:
            authors.add(session, kind, thing, who, now(session))
        if len(self._written) >= _FORGET_AFTER:
            self._written.clear()
        self._written.add((kind, thing, who))


def artifact_folder(path: str) -> str:
    """Return the folder that a file belongs to: that of its run or logged model where the path shows it.

    MLflow lays them out as `<experiment>/<run>/artifacts/...` and `<experiment>/models/<model>/artifacts/...`.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if "artifacts" in parts:
        return "/".join(parts[: parts.index("artifacts") + 1])
    return "/".join(parts)
