"""Databricks' dialect: the calls of its workspace model registry, on top of our promotion requests.

They stand beside MLflow's own routes, under MLflow's prefix, so that Databricks' clients find them.
"""

from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import Field

from lockgate.server import databricks_view as view
from lockgate.server.calls import Calling, House, in_workspace
from lockgate.server.once import OnceRouter
from lockgate.wire.words import LenientBody, Name, RowId, Text, VersionNumber
from lockgate.workflow import comments, describe, transitions
from lockgate.workflow.transitions import Transition

#: Databricks' clients use one or the other.
ROOTS = ("/api/2.0/mlflow", "/api/2.0/preview/mlflow")

Stage = Annotated[str, Field(min_length=1, max_length=100)]
Json = dict[str, Any]

router = OnceRouter(dependencies=[Depends(in_workspace)])


class TransitionBody(LenientBody):
    """Ask for a transition, or reject it."""

    name: Name
    version: VersionNumber
    stage: Stage
    comment: Text | None = None


class ApplyBody(TransitionBody):
    """Approve a transition, or make it."""

    archive_existing_versions: bool = False


class CommentBody(LenientBody):
    """Comment on a version."""

    name: Name
    version: VersionNumber
    comment: str


class EditBody(LenientBody):
    """Change a comment."""

    id: RowId
    comment: str


# Transition requests


@router.post("/transition-requests/create")
def create(body: TransitionBody, house: House, caller: Calling) -> Json:
    """Ask for a transition to a stage."""
    return {"request": view.activity(transitions.ask(house, caller, _wanted(body), body.comment))}


@router.get("/transition-requests/list")
def list_open(name: Annotated[Name, Query()], version: VersionNumber, house: House, caller: Calling) -> Json:
    """List the open requests of a version."""
    found = transitions.open_requests(house, caller, name, version)
    return {"requests": [view.activity(one) for one in found]}


@router.post("/transition-requests/approve")
def approve(body: ApplyBody, house: House, caller: Calling) -> Json:
    """Approve a request; carry it out if nothing is missing any more and the caller may."""
    return {"activity": view.activity(transitions.approve(house, caller, _wanted(body), body.comment))}


@router.post("/transition-requests/reject")
def reject(body: TransitionBody, house: House, caller: Calling) -> Json:
    """Reject a request."""
    return {"activity": view.activity(transitions.reject(house, caller, _wanted(body), body.comment))}


@router.delete("/transition-requests/delete")
def delete(
    name: Annotated[Name, Query()],
    version: VersionNumber,
    stage: Annotated[Stage, Query()],
    creator: Annotated[Name, Query()],
    house: House,
    caller: Calling,
    comment: Annotated[Text | None, Query()] = None,
) -> Json:
    """Withdraw a request of the creator's."""
    wanted = Transition.to(name, version, stage)
    return {"activity": view.activity(transitions.cancel(house, caller, wanted, creator, comment))}


def _wanted(body: TransitionBody) -> Transition:
    return Transition.to(body.name, body.version, body.stage)


# Comments


@router.post("/comments/create")
def create_comment(body: CommentBody, house: House, caller: Calling) -> Json:
    """Comment on a version."""
    return {"comment": view.comment(comments.add(house, body.name, body.version, body.comment))}


@router.patch("/comments/update")
def update_comment(body: EditBody, house: House, caller: Calling) -> Json:
    """Change one's own comment."""
    return {"comment": view.comment(comments.edit(house, body.id, body.comment))}


@router.delete("/comments/delete")
def delete_comment(id: RowId, house: House, caller: Calling) -> Json:
    """Delete a comment."""
    comments.remove(house, id)
    return {}


# Models


@router.post("/databricks/model-versions/transition-stage")
def transition_stage(body: ApplyBody, house: House, caller: Calling) -> Json:
    """Move a version to a stage, as MLflow's own call does."""
    transitions.transition(house, body.name, body.version, body.stage, body.archive_existing_versions, body.comment)
    return {"model_version_databricks": view.version(describe.version(house, caller, body.name, body.version))}


@router.get("/databricks/registered-models/get")
def get_model(name: Annotated[Name, Query()], house: House, caller: Calling) -> Json:
    """Show a registered model."""
    return {"registered_model_databricks": view.model(describe.model(house, caller, name))}
