"""MLflow's own webhooks (https://mlflow.org/docs/latest/ml/webhooks/): the same payloads, headers and signature."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lockgate.events.dialect import PROMPT_MARKER, Attempt, Call, Endpoint, Told
from lockgate.events.event import EventType
from lockgate.events.settings import Setting

# MLflow's own names. `events` doesn't import MLflow, so they stand here, and a test compares them with MLflow's.
_PROMPT_TEXT = "mlflow.prompt.text"
_PROMPT_TYPE = "_mlflow_prompt_type"
_ABOUT_PROMPTS = (PROMPT_MARKER, _PROMPT_TYPE)

#: Events of ours by which an alias comes to hold a version.
_MOVES = {EventType.PROMOTED, EventType.ROLLED_BACK, EventType.BREAK_GLASS, EventType.TARGET_MOVED}


@dataclass(frozen=True)
class Mlflow:
    """Tells an event as MLflow does.

    Args:
        workspaces: Whether MLflow's workspaces are enabled: then its webhooks name theirs.
    """

    workspaces: bool = False

    EVENTS: ClassVar[tuple[str, ...]] = (
        "registered_model.created",
        "model_version.created",
        "model_version_tag.set",
        "model_version_tag.deleted",
        "model_version_alias.created",
        "model_version_alias.deleted",
        "prompt.created",
        "prompt_version.created",
        "prompt_tag.set",
        "prompt_tag.deleted",
        "prompt_version_tag.set",
        "prompt_version_tag.deleted",
        "prompt_alias.created",
        "prompt_alias.deleted",
    )
    SIGNS: ClassVar[bool] = True
    SETTINGS: ClassVar[tuple[Setting, ...]] = ()

    def check(self, endpoint: Endpoint) -> None:
        """Refuse nothing: MLflow takes any secret, and none."""

    def names(self, told: Told) -> tuple[str, ...]:
        """Return which of MLflow's events an event is: at most one."""
        if told.was_refused:
            return ()
        name = _name(told)
        return (name,) if name in self.EVENTS else ()

    def call(self, told: Told, name: str, endpoint: Endpoint, attempt: Attempt) -> Call:
        """Return the call that tells of an event, signed with the newest secret if there is one."""
        entity, _, action = name.partition(".")
        told_of = {"entity": entity, "action": action, "timestamp": told.at.isoformat(), "data": _data(told, entity)}
        body = json.dumps(told_of | ({"workspace": told.workspace} if self.workspaces else {})).encode()
        at = str(int(attempt.at.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "X-MLflow-Delivery-Id": attempt.message_id,
            "X-MLflow-Timestamp": at,
        }
        if endpoint.secrets:
            signed = f"{attempt.message_id}.{at}.".encode() + body
            headers["X-MLflow-Signature"] = _signature(endpoint.secrets[0], signed)
        return Call(endpoint.url, body, headers)


def _signature(secret: str, signed: bytes) -> str:
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _name(told: Told) -> str:
    """Return MLflow's name of an event; one that isn't in `EVENTS` if MLflow tells nothing of it."""
    version = "prompt_version" if told.is_prompt else "model_version"
    if told.type is EventType.MODEL_CREATED:
        return "prompt.created" if told.is_prompt else "registered_model.created"
    if told.type is EventType.VERSION_CREATED:
        return f"{version}.created"
    if told.type is EventType.VERSION_UPDATED and "tags" in told.after:
        return f"{version}_tag.{_done_to(told)}"
    if told.type is EventType.MODEL_UPDATED and "tags" in told.after:
        return f"{'prompt_tag' if told.is_prompt else 'registered_model_tag'}.{_done_to(told)}"
    if told.type in _MOVES and _alias(told):
        alias = "prompt_alias" if told.is_prompt else "model_version_alias"
        return f"{alias}.{'created' if 'version' in told.data else 'deleted'}"
    return ""


def _tag(told: Told) -> tuple[str, str | None]:
    """Return the tag that was set, or deleted (None): each event is of one."""
    return next(iter(told.after["tags"].items()), ("", None))


def _done_to(told: Told) -> str:
    return "deleted" if _tag(told)[1] is None else "set"


def _alias(told: Told) -> str:
    kind, _, alias = str(told.data.get("target", "")).partition(":")
    return alias if kind == "alias" else ""


def _data(told: Told, entity: str) -> Mapping[str, Any]:
    """Return MLflow's payload of an event."""
    about: dict[str, Any] = {"name": told.model}
    if "version" in told.data:
        about["version"] = str(told.data["version"])
    if entity.endswith("_tag"):
        key, value = _tag(told)
        return {**about, "key": key} | ({} if value is None else {"value": value})
    if entity.endswith("_alias"):
        return {"name": told.model, "alias": _alias(told), **about}
    return {**about, **_created(told, entity)}


def _created(told: Told, entity: str) -> Mapping[str, Any]:
    tags = dict(told.after.get("tags", {}))
    described = {"description": told.after.get("description")}
    if entity == "prompt_version":
        return {"template": tags.pop(_PROMPT_TEXT, None), "tags": _without_markers(tags), **described}
    if entity == "prompt":
        return {"tags": _without_markers(tags), **described}
    if entity == "registered_model":
        return {"tags": tags, **described}
    described = {"description": told.after.get("description") or None}
    return {"source": told.after.get("source"), "run_id": told.after.get("run_id") or None, "tags": tags, **described}


def _without_markers(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if key not in _ABOUT_PROMPTS}
