"""The JSON Schema of what events say (`lockgate.events.payload`), for those who receive them: `docs/events.json`."""

import json
from collections.abc import Mapping
from typing import Any

from lockgate.audit.entry import AuditOutcome
from lockgate.events.event import EventType
from lockgate.events.glance import AT_A_GLANCE
from lockgate.events.titles import TITLES
from lockgate.gates.judge import Outcome

_Schema = Mapping[str, Any]

_TEXT: _Schema = {"type": "string"}
_NUMBER: _Schema = {"type": "integer"}
_TEXTS: _Schema = {"type": "array", "items": _TEXT}
_VERSION: _Schema = {"type": ["integer", "null"], "description": "The version that the target holds; null for none."}
_DIGEST: _Schema = {"type": "string", "description": "The digest of the evidence."}
_STAGES: _Schema = {
    "type": "object",
    "additionalProperties": _TEXT,
    "description": "The stage of each version that the move is about, by its number; only where a stage moves.",
}
_TAGS: _Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "null"]},
    "description": "Tags that were set, or deleted (null).",
}

_GLANCE: Mapping[str, _Schema] = {
    "state": {"type": "string", "description": "Where the request stands."},
    "gates": {
        "type": "array",
        "description": "How the request's gates came out, up to 50 of them.",
        "items": {
            "type": "object",
            "required": ["name", "outcome"],
            "properties": {
                "name": _TEXT,
                "outcome": {"enum": [str(outcome) for outcome in Outcome]},
                "warns": {"const": True, "description": "It keeps no promotion from going."},
            },
        },
    },
    "unmet": {**_TEXTS, "description": "What is still missing, a sentence each, up to 20 of them."},
    "commit": {"type": "string", "description": "The git commit of the version's run, if its tags name one."},
}

_MODEL = ("model",)
_OF_A_VERSION = ("model", "version")
_OF_A_TARGET = ("model", "target")
_OF_A_MOVE = ("model", "version", "target")
_OF_A_REQUEST = ("model", "version", "target", "request_id")

#: What the data of a type always has.
_HAS: Mapping[EventType, tuple[str, ...]] = {
    EventType.MODEL_CREATED: _MODEL,
    EventType.MODEL_UPDATED: _MODEL,
    EventType.MODEL_RENAMED: _MODEL,
    EventType.MODEL_DELETED: _MODEL,
    EventType.MODEL_ADOPTED: _MODEL,
    EventType.VERSION_CREATED: _OF_A_VERSION,
    EventType.VERSION_UPDATED: _OF_A_VERSION,
    EventType.VERSION_DELETED: _OF_A_VERSION,
    EventType.TARGET_MOVED: _OF_A_TARGET,
    EventType.REQUEST_OPENED: _OF_A_REQUEST,
    EventType.EVIDENCE_CHANGED: _OF_A_REQUEST,
    EventType.INCUMBENT_CHANGED: _OF_A_REQUEST,
    EventType.GATE_FAILED: _OF_A_REQUEST,
    EventType.GATES_PASSED: _OF_A_REQUEST,
    EventType.REVIEW_ASKED: _OF_A_REQUEST,
    EventType.REJECTION_LIFTED: _OF_A_REQUEST,
    EventType.REQUEST_COMMENTED: _OF_A_REQUEST,
    EventType.REQUEST_REVIEWED: _OF_A_REQUEST,
    EventType.REQUEST_REJECTED: _OF_A_REQUEST,
    EventType.REQUEST_WITHDRAWN: _OF_A_REQUEST,
    EventType.REQUEST_EXPIRED: _OF_A_REQUEST,
    EventType.REQUEST_SUPERSEDED: _OF_A_REQUEST,
    EventType.PROMOTION_REFUSED: _OF_A_MOVE,
    EventType.PROMOTED: _OF_A_REQUEST,
    EventType.ROLLED_BACK: _OF_A_TARGET,
    EventType.BREAK_GLASS: _OF_A_MOVE,
    EventType.BREAK_GLASS_REVIEWED: _OF_A_MOVE,
    EventType.HELD: _OF_A_VERSION,
    EventType.HOLD_LIFTED: _OF_A_VERSION,
    EventType.WOULD_REFUSE: _OF_A_MOVE,
    EventType.CLEARED: _OF_A_MOVE,
    EventType.CHECK_REPORTED: _OF_A_VERSION,
    EventType.COMMENT_CREATED: _OF_A_VERSION,
    EventType.COMMENT_UPDATED: _OF_A_VERSION,
    EventType.COMMENT_DELETED: _OF_A_VERSION,
}

#: What is of interest in `before` and `after` of a type, beside what it says at a glance; there can be more.
_BEFORE: Mapping[EventType, _Schema] = {
    EventType.TARGET_MOVED: {"stages": _STAGES},
    EventType.PROMOTED: {"version": _VERSION, "stages": _STAGES},
    EventType.ROLLED_BACK: {"version": _VERSION, "stages": _STAGES},
    EventType.BREAK_GLASS: {"version": _VERSION, "stages": _STAGES},
    EventType.EVIDENCE_CHANGED: {"evidence": _DIGEST},
    EventType.INCUMBENT_CHANGED: {"version": _VERSION},
    EventType.MODEL_RENAMED: {"name": _TEXT},
}
_AFTER: Mapping[EventType, _Schema] = {
    EventType.MODEL_CREATED: {"description": {"type": ["string", "null"]}, "tags": _TAGS},
    EventType.MODEL_UPDATED: {"description": {"type": ["string", "null"]}, "tags": _TAGS},
    EventType.MODEL_RENAMED: {"name": _TEXT},
    EventType.VERSION_CREATED: {
        "source": _TEXT,
        "run_id": {"type": ["string", "null"]},
        "description": {"type": ["string", "null"]},
        "tags": _TAGS,
    },
    EventType.VERSION_UPDATED: {"description": {"type": ["string", "null"]}, "tags": _TAGS},
    EventType.TARGET_MOVED: {"stages": _STAGES},
    EventType.REQUEST_OPENED: {"evidence": _DIGEST, "policy": _NUMBER},
    EventType.EVIDENCE_CHANGED: {"evidence": _DIGEST, "changes": _TEXTS, "asked_again": _TEXTS},
    EventType.INCUMBENT_CHANGED: {"version": _VERSION},
    EventType.REVIEW_ASKED: {"asked": _TEXTS},
    EventType.REQUEST_REVIEWED: {"verdict": _TEXT, "evidence": _DIGEST},
    EventType.PROMOTED: {"version": _VERSION, "stages": _STAGES},
    EventType.ROLLED_BACK: {
        "version": _VERSION,
        "stages": _STAGES,
        "hold": {"type": ["integer", "null"], "description": "The hold on what it left."},
    },
    EventType.BREAK_GLASS: {
        "version": _VERSION,
        "stages": _STAGES,
        "break_glass": _NUMBER,
        "ticket": _TEXT,
        "unmet": _TEXTS,
        "evidence": _DIGEST,
        "review_by": {"type": "string", "format": "date-time"},
    },
    EventType.BREAK_GLASS_REVIEWED: {"break_glass": _NUMBER, "verdict": _TEXT},
    EventType.HELD: {"hold": _NUMBER},
    EventType.WOULD_REFUSE: {"rules": _TEXTS, "unmet": _TEXTS},
    EventType.CHECK_REPORTED: {
        "check": _TEXT,
        "status": _TEXT,
        "url": _TEXT,
        "metrics": {"type": "object"},
        "evidence": _DIGEST,
    },
    EventType.COMMENT_CREATED: {"comment_id": _NUMBER},
    EventType.COMMENT_UPDATED: {"comment_id": _NUMBER},
}

_DATA: _Schema = {
    "type": "object",
    "required": ["id", "workspace", "outcome", "actor"],
    "properties": {
        "id": {"type": "integer", "description": "The number of the event, and of its audit entry."},
        "workspace": {"type": "string", "description": "MLflow's workspace."},
        "outcome": {"enum": [str(outcome) for outcome in AuditOutcome], "description": "Refused: nothing has changed."},
        "actor": {"type": "string", "description": "Who did it, or tried; `lockgate` is the server itself."},
        "model": {"type": "string", "description": "The registered model."},
        "version": {"type": "integer", "description": "The model version's number."},
        "target": {"type": "string", "description": "What moves: `stage:Production`, `alias:champion`."},
        "request_id": {"type": "integer", "description": "The promotion request's number."},
        "before": {"type": "object", "description": "What was before, as far as it matters."},
        "after": {"type": "object", "description": "What is afterwards, as far as it matters."},
        "reason": {"type": "string", "description": "What was said with it, or why it was refused."},
        "url": {"type": "string", "format": "uri", "description": "Where people see the request."},
        "shortened": {"const": True, "description": "It was too large: parts are left out or cut. Ask for the rest."},
    },
}


def document() -> dict[str, Any]:
    """Return the schema: one definition a type, of which an event fits exactly one."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Lockgate's events",
        "description": "What Lockgate's webhooks of the dialect `standard` tell. Fields may be added.",
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"enum": [str(event) for event in EventType]},
            "timestamp": {"type": "string", "format": "date-time", "description": "When it happened, in UTC."},
            "data": {"$ref": "#/$defs/data"},
        },
        "oneOf": [{"$ref": f"#/$defs/{event}"} for event in EventType],
        "$defs": {"data": _DATA, **{str(event): _definition(event) for event in EventType}},
    }


def text() -> str:
    """Return the schema as the file has it."""
    return json.dumps(document(), indent=2) + "\n"


def _definition(event: EventType) -> dict[str, Any]:
    data: dict[str, Any] = {}
    if event in _HAS:
        data["required"] = list(_HAS[event])
    at_a_glance = _GLANCE if event in AT_A_GLANCE else {}
    sides = {"before": _BEFORE.get(event), "after": {**_AFTER.get(event, {}), **at_a_glance}}
    properties = {side: {"properties": of_it} for side, of_it in sides.items() if of_it}
    if properties:
        data["properties"] = properties
    return {"title": TITLES[event], "properties": {"type": {"const": str(event)}, "data": data}}
