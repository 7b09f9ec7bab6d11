"""Databricks' registry webhooks (https://docs.databricks.com/en/mlflow/model-registry-webhooks.html)."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lockgate.events.dialect import Attempt, Call, Endpoint, Told, event_named
from lockgate.events.event import EventType
from lockgate.events.payload import compact
from lockgate.events.settings import Setting

_TRANSITIONED = "MODEL_VERSION_TRANSITIONED_STAGE"
_ASKED = "TRANSITION_REQUEST_CREATED"
_TRANSITIONED_TO = {
    stage: f"MODEL_VERSION_TRANSITIONED_TO_{stage.upper()}" for stage in ("Staging", "Production", "Archived")
}
_ASKED_FOR = {
    stage: f"TRANSITION_REQUEST_TO_{stage.upper()}_CREATED" for stage in ("Staging", "Production", "Archived")
}


@dataclass(frozen=True)
class Transition:
    """A version that went from one stage to another."""

    version: int
    from_stage: str
    to_stage: str


class Databricks:
    """Tells an event as Databricks' workspace registry does: of stages, requests for them, comments and tags.

    A promotion that archives what served before is told of each version. Databricks' registry knows neither aliases nor
    prompts, so nothing is told of those.
    """

    EVENTS: ClassVar[tuple[str, ...]] = (
        "MODEL_VERSION_CREATED",
        _TRANSITIONED,
        _ASKED,
        "COMMENT_CREATED",
        "REGISTERED_MODEL_CREATED",
        "MODEL_VERSION_TAG_SET",
        *_TRANSITIONED_TO.values(),
        *_ASKED_FOR.values(),
    )
    SIGNS: ClassVar[bool] = True
    SETTINGS: ClassVar[tuple[Setting, ...]] = (Setting("authorization", is_secret=True),)

    def check(self, endpoint: Endpoint) -> None:
        """Refuse nothing: Databricks takes any secret, and none."""

    def names(self, told: Told) -> tuple[str, ...]:
        """Return which of Databricks' events an event is."""
        if told.was_refused or told.is_prompt:
            return ()
        match told.type:
            case EventType.MODEL_CREATED:
                return ("REGISTERED_MODEL_CREATED",)
            case EventType.VERSION_CREATED:
                return ("MODEL_VERSION_CREATED",)
            case EventType.VERSION_UPDATED if _tags_set(told):
                return ("MODEL_VERSION_TAG_SET",)
            case EventType.COMMENT_CREATED:
                return ("COMMENT_CREATED",)
            case EventType.REQUEST_OPENED if _stage(told):
                return (_ASKED, _ASKED_FOR[_stage(told)])
        return tuple(name for moved in _transitions(told) for name in _names_of(told, moved))

    def call(self, told: Told, name: str, endpoint: Endpoint, attempt: Attempt) -> Call:
        """Return the call that tells of an event under one of its names, signed with the newest secret."""
        event = event_named(name)
        version = int(name.partition(":")[2] or told.data.get("version", 0))
        body = compact(
            {
                "event": event,
                "webhook_id": endpoint.id,
                "event_timestamp": round(told.at.timestamp() * 1000),
                "model_name": told.model,
                **_about(version),
                **_says(told, event, version),
            }
        )
        headers = {"Content-Type": "application/json"}
        if endpoint.settings.get("authorization"):
            headers["Authorization"] = endpoint.settings["authorization"]
        if endpoint.secrets:
            headers["X-Databricks-Signature"] = hmac.new(endpoint.secrets[0].encode(), body, hashlib.sha256).hexdigest()
        return Call(endpoint.url, body, headers)


def _transitions(told: Told) -> Iterator[Transition]:
    """Yield the versions that went to another stage: first the one that the event is about, then those it replaced."""
    before, after = told.before.get("stages", {}), told.after.get("stages", {})
    about = str(told.data.get("version"))
    for number in sorted(after, key=lambda number: (number != about, int(number))):
        if before.get(number) != after[number]:
            yield Transition(int(number), before.get(number, "None"), after[number])


def _names_of(told: Told, moved: Transition) -> Iterator[str]:
    suffix = "" if moved.version == told.data.get("version") else f":{moved.version}"
    yield _TRANSITIONED + suffix
    if moved.to_stage in _TRANSITIONED_TO:
        yield _TRANSITIONED_TO[moved.to_stage] + suffix


def _stage(told: Told) -> str:
    """Return the stage that a request asks for, if it is about one."""
    kind, _, name = str(told.data.get("target", "")).partition(":")
    return name if kind == "stage" and name in _ASKED_FOR else ""


def _tags_set(told: Told) -> list[dict[str, str]]:
    tags = told.after.get("tags", {})
    return [{"key": key, "value": value} for key, value in tags.items() if value is not None]


def _about(version: int) -> Mapping[str, Any]:
    # Databricks' payload is flat; handlers that were written for a nested one are around too.
    return {"version": str(version), "model_version": {"version": str(version)}} if version else {}


def _says(told: Told, event: str, version: int) -> Mapping[str, Any]:
    """Return what an event of Databricks' has besides what all of them have."""
    model = f"Registered model '{told.model}'"
    actor = told.data.get("actor", "")
    if event == "REGISTERED_MODEL_CREATED":
        return {"text": f"{model} created."}
    if event == "MODEL_VERSION_CREATED":
        return {"text": f"{model} version {version} created."}
    if event == "MODEL_VERSION_TAG_SET":
        tags = _tags_set(told)
        named = ", ".join(f"'{tag['key']}'" for tag in tags)
        return {"tags": tags, "text": f"{actor} set tag {named} on registered model '{told.model}' version {version}."}
    if event == "COMMENT_CREATED":
        comment = told.data.get("reason", "")
        return {"comment": comment, "text": f"{actor} commented on registered model '{told.model}' version {version}."}
    if event == _ASKED or event in _ASKED_FOR.values():
        stage = _stage(told)
        wanted = f"{actor} requested that registered model '{told.model}' version {version} transition to {stage}."
        return {"to_stage": stage, "text": wanted}
    return _says_of_transition(told, model, version)


def _says_of_transition(told: Told, model: str, version: int) -> Mapping[str, Any]:
    moved = next(moved for moved in _transitions(told) if moved.version == version)
    text = f"{model} version {version} transitioned from {moved.from_stage} to {moved.to_stage}."
    return {"from_stage": moved.from_stage, "to_stage": moved.to_stage, "text": text}
