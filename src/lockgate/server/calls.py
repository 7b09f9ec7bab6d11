"""What our routes take from a call: the workspace, the stores, who is calling, parameters that many have."""

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from fastapi import Depends, Query, Request
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.server.workspace_helpers import WORKSPACE_HEADER_NAME, resolve_workspace_for_request_if_enabled
from mlflow.utils.workspace_context import ServerWorkspaceContext

from lockgate.access.principals import Caller, current_caller
from lockgate.wire.requests import CommentBody
from lockgate.workflow.stores import Stores, stores

MAX_PAGE = 200


async def in_workspace(request: Request) -> AsyncIterator[None]:
    """Let a call be about the workspace that its header names, where workspaces are enabled."""
    path, header = request.url.path, request.headers.get(WORKSPACE_HEADER_NAME)
    if MLFLOW_ENABLE_WORKSPACES.get():
        workspace = await anyio.to_thread.run_sync(resolve_workspace_for_request_if_enabled, path, header)
    else:
        workspace = resolve_workspace_for_request_if_enabled(path, header)
    with ServerWorkspaceContext(workspace.name if workspace else None):
        yield


# Asynchronous though they wait for nothing: else each call would take two more turns through the thread pool.


async def _stores() -> Stores:
    return stores()


async def _caller() -> Caller:
    return current_caller()


House = Annotated[Stores, Depends(_stores)]
Calling = Annotated[Caller, Depends(_caller)]
PageToken = Annotated[str | None, Query(max_length=100)]
Comment = Annotated[str | None, Query(max_length=10_000)]
PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE)]


def said(body: CommentBody | None) -> str | None:
    """Return the comment of a body that may be left out."""
    return body.comment if body is not None else None
