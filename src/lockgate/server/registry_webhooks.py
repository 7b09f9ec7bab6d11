"""Databricks' dialect of setting webhooks up (https://docs.databricks.com/api/workspace/modelregistry)."""

import glob
import re
from typing import Annotated, Any, Literal

from fastapi import Depends, Query
from pydantic import Field

from lockgate.access.roles import EVERY_MODEL
from lockgate.database.engine import to_ms
from lockgate.database.webhooks import Status, Webhook
from lockgate.delivery.receivers import Secrets
from lockgate.errors import BadInput, NotFound
from lockgate.server.calls import Calling, House, in_workspace
from lockgate.server.once import OnceRouter
from lockgate.server.paging import Listing
from lockgate.wire.webhooks import EventName
from lockgate.wire.words import LenientBody, Name, Text, Url
from lockgate.workflow import webhook_example, webhooks
from lockgate.workflow.webhook_wanted import Wanted

DIALECT = "databricks"
#: What `glob.escape` makes of a character that means something in a pattern.
_ESCAPED = re.compile(r"\[([*?[])\]")
_STATUS = {"ACTIVE": Status.ACTIVE, "DISABLED": Status.DISABLED, "TEST_MODE": Status.TEST}
_SHOWN = {Status.ACTIVE: "ACTIVE", Status.DISABLED: "DISABLED", Status.FAILED: "DISABLED", Status.TEST: "TEST_MODE"}
_NO_JOBS = "Lockgate starts no Databricks jobs. Give `http_url_spec`, with the URL of what starts yours."

StatusText = Literal["ACTIVE", "DISABLED", "TEST_MODE"]
Events = Annotated[list[EventName], Field(min_length=1, max_length=100)]
Json = dict[str, Any]

router = OnceRouter(dependencies=[Depends(in_workspace)])


class HttpUrlSpec(LenientBody):
    """Where to send events, and what proves to the receiver that we do."""

    url: Url
    enable_ssl_verification: bool = True
    secret: Annotated[str | None, Field(max_length=500)] = None
    authorization: Annotated[str | None, Field(max_length=4_000)] = None


class CreateBody(LenientBody):
    """Tell somebody of events."""

    events: Events
    model_name: Name | None = None
    description: Text = ""
    status: StatusText = "ACTIVE"
    http_url_spec: HttpUrlSpec | None = None
    job_spec: Json | None = None


class UpdateBody(LenientBody):
    """Change what is given; what is left out stays."""

    id: Annotated[str, Field(max_length=256)]
    events: Events | None = None
    description: Text | None = None
    status: StatusText | None = None
    http_url_spec: HttpUrlSpec | None = None
    job_spec: Json | None = None


class IdBody(LenientBody):
    """Which webhook."""

    id: Annotated[str, Field(max_length=256)]


class TestBody(IdBody):
    """Which webhook, and the event that it is to be sent an example of."""

    event: EventName | None = None


@router.post("/registry-webhooks/create")
def create(body: CreateBody, house: House, caller: Calling) -> Json:
    """Tell somebody of events from now on."""
    spec = _http(body.http_url_spec, body.job_spec)
    wanted = Wanted(
        dialect=DIALECT,
        url=spec.url,
        events=tuple(body.events),
        models=_pattern(body.model_name),
        description=body.description,
        status=_STATUS[body.status],
        verify_certificate=spec.enable_ssl_verification,
        secrets=_secrets(spec),
    )
    return {"webhook": _view(webhooks.create(house, caller, wanted))}


@router.get("/registry-webhooks/list")
def list_webhooks(
    house: House,
    caller: Calling,
    model_name: Annotated[Name | None, Query()] = None,
    events: Annotated[list[EventName] | None, Query()] = None,
    max_results: Annotated[int, Query(ge=1, le=1000)] = 100,
    page_token: Annotated[str | None, Query(max_length=100)] = None,
) -> Json:
    """List the webhooks of this dialect that the caller maintains, oldest first."""
    wanted = None if model_name is None else _pattern(model_name)
    found = [
        one
        for one in webhooks.all_of(house, caller)
        if one.dialect == DIALECT
        and wanted in (None, one.models)
        and (not events or any(name in one.events for name in events))
    ]
    listing = Listing("registry-webhooks", (model_name, events))
    start = listing.start(page_token) or 0
    page, rest = found[start : start + max_results], found[start + max_results :]
    token = listing.token(start + max_results if rest else None)
    return {"webhooks": [_view(one) for one in page], **({"next_page_token": token} if token else {})}


@router.patch("/registry-webhooks/update")
def update(body: UpdateBody, house: House, caller: Calling) -> Json:
    """Change a webhook."""
    changes: Json = {}
    if body.events is not None:
        changes["events"] = tuple(body.events)
    if body.description is not None:
        changes["description"] = body.description
    if body.status is not None:
        changes["status"] = _STATUS[body.status]
    if body.http_url_spec is not None or body.job_spec is not None:
        changes |= _changes(_http(body.http_url_spec, body.job_spec))
    _check_is_databricks(house, caller, body.id)
    return {"webhook": _view(webhooks.change(house, caller, body.id, **changes))}


@router.delete("/registry-webhooks/delete")
def delete(
    house: House,
    caller: Calling,
    id: Annotated[str | None, Query(max_length=256)] = None,
    body: IdBody | None = None,
) -> Json:
    """Tell somebody nothing any more. Clients name the webhook in the query or in a body."""
    named = id or (body.id if body else None)
    if named is None:
        raise BadInput("Which webhook? Give its `id`.")
    _check_is_databricks(house, caller, named)
    webhooks.remove(house, caller, named)
    return {}


@router.post("/registry-webhooks/test")
def test(body: TestBody, house: House, caller: Calling) -> Json:
    """Send an example of an event at once. What the receiver answers besides its status is not told."""
    _check_is_databricks(house, caller, body.id)
    answer = webhook_example.send_example(house, caller, body.id, body.event)
    status = answer.status or 0
    said = "OK" if answer.is_success else answer.error or f"It answered {status}."
    # Databricks' documents have `status`, its clients read `status_code`.
    return {"status": status, "status_code": status, "body": said}


def _check_is_databricks(house: House, caller: Calling, webhook_id: str) -> None:
    """Leave those of other dialects alone: here they would be shown by what Databricks' clients are shown."""
    if webhooks.find(house, caller, webhook_id).dialect != DIALECT:
        raise NotFound(f"There is no webhook '{webhook_id}' of Databricks' kind. `lockgate webhooks list` lists all.")


def _http(spec: HttpUrlSpec | None, job: Json | None) -> HttpUrlSpec:
    if job is not None or spec is None:
        raise BadInput(_NO_JOBS)
    return spec


def _secrets(spec: HttpUrlSpec) -> Secrets:
    settings = {"authorization": spec.authorization} if spec.authorization else {}
    return Secrets((spec.secret,) if spec.secret else (), settings)


def _changes(spec: HttpUrlSpec) -> Json:
    """Return what a spec changes: only what it names. Databricks' clients take a secret away by an empty one."""
    changes: Json = {"url": spec.url}
    if "enable_ssl_verification" in spec.model_fields_set:
        changes["verify_certificate"] = spec.enable_ssl_verification
    given = _secrets(spec)
    if spec.authorization is not None:
        changes["settings"] = given.settings
    if spec.secret is not None:
        changes["signing"] = given.signing
    return changes


def _view(webhook: Webhook) -> Json:
    return {
        "id": webhook.id,
        **_model(webhook.models),
        "events": list(webhook.events),
        "status": _SHOWN[webhook.status],
        "description": webhook.description,
        "creation_timestamp": to_ms(webhook.created_at),
        "last_updated_timestamp": to_ms(webhook.updated_at),
        "http_url_spec": {"url": webhook.url, "enable_ssl_verification": webhook.verify_certificate},
    }


def _pattern(model: str | None) -> str:
    """Return the pattern that names one model and no other, or all of them."""
    return EVERY_MODEL if model is None else glob.escape(model)


def _model(pattern: str) -> Json:
    """Return which model a webhook is about, as this dialect tells it: by its name, or not at all if it is about all.

    A pattern that was set otherwise than in this dialect is told as it is.
    """
    return {} if pattern == EVERY_MODEL else {"model_name": _ESCAPED.sub(r"\1", pattern)}
