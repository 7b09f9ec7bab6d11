"""Which source a version may be given by somebody whose roles are bound to patterns.

The server reads a version's files with keys of its own, for whoever sees the version. So a source may name only what
lies in the folder of a run or logged model that the caller sees. MLflow looks at sources that are local or go through
the server, and lets those in buckets and elsewhere be.
"""

from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import _PROMPT_SOURCE_PLACEHOLDERS
from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from lockgate.access.principals import current_caller
from lockgate.access.roles import Permission, least_role, roles_with
from lockgate.errors import Refused
from lockgate.registry.authorship import decoded
from lockgate.registry.bounds import require, visible
from lockgate.registry.places import lies_below
from lockgate.registry.runs import place_of_run
from lockgate.registry.touches import Kind

_MAX_DEPTH = 100


def check_source(tracking: SqlAlchemyStore, source: str, run_id: str | None, model_id: str | None) -> None:
    """Refuse a source that leads the caller to files that they may not see.

    Args:
        tracking: The tracking store, which knows where runs and logged models keep their files.
        source: The source of a new version.
        run_id: The run that the call names.
        model_id: The logged model that the call names.

    Raises:
        Refused: whether or not anything is there.
        MlflowException: if it is a logged model that the caller may not see.
    """
    principal = current_caller().principal
    # The placeholders are what prompts have in place of files.
    if principal.may(Permission.WRITE) or source in _PROMPT_SOURCE_PLACEHOLDERS:
        return
    if urlsplit(source).scheme == "models":
        # Another version's files are looked up by the store, which asks whether that one is seen.
        logged = _parse_model_uri(source).model_id
        if logged is not None:
            require(tracking, Permission.READ, Kind.LOGGED_MODEL, [logged])
        return
    if not any(lies_below(tracking, source, folder) for folder in _folders_seen(tracking, source, run_id, model_id)):
        raise Refused(
            f"{principal.name} may register only files of runs and logged models that they see, and '{source}' is in "
            "no folder of such a one. Give `runs:/RUN_ID/PATH` with the run's `run_id`; for other places this needs "
            f"the role {roles_with(Permission.WRITE)} for all models "
            f"(`lockgate users add {principal.name} --role {least_role(Permission.WRITE)}`)."
        )


def _folders_seen(tracking: SqlAlchemyStore, source: str, run_id: str | None, model_id: str | None) -> Iterator[str]:
    """Yield where the runs and logged models that a call names, and the caller sees, keep their files."""
    parts = decoded(source).split("/")
    if ".." in parts or len(parts) > _MAX_DEPTH:
        return
    named = [one for one in (run_id, model_id, *parts) if one and "\0" not in one]
    for seen in visible(tracking, Kind.RUN, named):
        run = place_of_run(tracking, seen)
        if run is not None:
            yield run.artifact_uri
    for seen in visible(tracking, Kind.LOGGED_MODEL, named):
        # Who sees everything is not asked whether there is such a one.
        with suppress(MlflowException):
            yield tracking.get_logged_model(seen).artifact_location
