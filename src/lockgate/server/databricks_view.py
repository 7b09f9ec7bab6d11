"""From values to Databricks' JSON: times are milliseconds since 1970, ids and version numbers are strings."""

import json
from typing import Any

from mlflow.utils.proto_json_utils import message_to_json

from lockgate.database.comments import Comment
from lockgate.database.engine import to_ms
from lockgate.workflow.describe import DescribedModel, DescribedVersion
from lockgate.workflow.transitions import Activity

Json = dict[str, Any]


def activity(done: Activity) -> Json:
    """Show what happened to a request; its id is the promotion request's number."""
    shown = {
        "id": str(done.request.id),
        "activity_type": done.type,
        "user_id": done.by,
        "comment": done.comment,
        "from_stage": done.from_stage,
        "to_stage": done.request.target.name,
        "creation_timestamp": to_ms(done.at),
        "last_updated_timestamp": to_ms(done.updated_at),
        "available_actions": list(done.actions),
    }
    return {**shown, "system_comment": done.note} if done.note else shown


def comment(said: Comment) -> Json:
    """Show a comment to its author."""
    return {
        "id": str(said.id),
        "user_id": said.author,
        "comment": said.text,
        "creation_timestamp": to_ms(said.at),
        "last_updated_timestamp": to_ms(said.edited_at),
        "available_actions": ["EDIT_COMMENT", "DELETE_COMMENT"],
    }


def version(described: DescribedVersion) -> Json:
    """Show a version as MLflow does, with what Databricks adds."""
    shown = {
        **_as_mlflow_shows(described.version),
        "permission_level": described.level,
        "open_requests": [activity(one) for one in described.open_requests],
    }
    return {**shown, "user_id": described.registrar} if described.registrar else shown


def model(described: DescribedModel) -> Json:
    """Show a registered model as MLflow does, with what Databricks adds."""
    return {**_as_mlflow_shows(described.model), "id": described.id, "permission_level": described.level}


def _as_mlflow_shows(entity: Any) -> Json:
    shown: Json = json.loads(message_to_json(entity.to_proto()))
    return shown
