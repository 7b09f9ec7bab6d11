"""The routes over webhooks and deliveries."""

from typing import Annotated, Any

from fastapi import Query

from lockgate.database.deliveries import Attempted, Delivery, State
from lockgate.database.webhooks import Status, Webhook
from lockgate.delivery.spoken import spoken
from lockgate.events.dialect import Call
from lockgate.server.calls import Calling, House, PageSize, PageToken
from lockgate.server.once import OnceRouter
from lockgate.server.paging import Listing
from lockgate.wire.webhooks import (
    AttemptView,
    CallView,
    DeliveryList,
    DeliveryView,
    DialectList,
    DialectView,
    NewWebhookView,
    SecretBody,
    StateText,
    TestBody,
    TestView,
    WebhookBody,
    WebhookList,
    WebhookPatch,
    WebhookView,
    WholeDeliveryView,
)
from lockgate.wire.words import RowId
from lockgate.workflow import deliveries, webhook_example, webhooks
from lockgate.workflow.deliveries import Shown
from lockgate.workflow.shown import address, has_secret_url
from lockgate.workflow.webhook_wanted import Wanted, new_secrets

router = OnceRouter()


@router.get("/webhooks")
def list_webhooks(house: House, caller: Calling) -> WebhookList:
    """List the webhooks that the caller maintains."""
    found = webhooks.all_of(house, caller)
    return WebhookList(webhooks=[_webhook(one, webhooks.settings_of(house, one)) for one in found])


@router.post("/webhooks", status_code=201)
def add_webhook(body: WebhookBody, house: House, caller: Calling) -> NewWebhookView:
    """Tell somebody of events from now on."""
    wanted = Wanted(
        dialect=body.dialect,
        url=body.url,
        events=tuple(body.events),
        models=body.models,
        description=body.description,
        status=Status(body.status),
        verify_certificate=body.verify_certificate,
        secrets=new_secrets(body.dialect, body.secret, body.settings),
    )
    made = webhooks.create(house, caller, wanted)
    return _shown_once(house, made, next(iter(wanted.secrets.signing), None))


@router.get("/webhooks/{webhook_id}")
def show_webhook(webhook_id: str, house: House, caller: Calling) -> WebhookView:
    """Show a webhook."""
    found = webhooks.find(house, caller, webhook_id)
    return _webhook(found, webhooks.settings_of(house, found))


@router.patch("/webhooks/{webhook_id}")
def change_webhook(webhook_id: str, body: WebhookPatch, house: House, caller: Calling) -> WebhookView:
    """Change a webhook. One that had failed and is made active again gets what has waited for it."""
    changes: dict[str, Any] = body.model_dump(exclude_none=True)
    if "events" in changes:
        changes["events"] = tuple(changes["events"])
    if "status" in changes:
        changes["status"] = Status(changes["status"])
    changed = webhooks.change(house, caller, webhook_id, **changes)
    return _webhook(changed, webhooks.settings_of(house, changed))


@router.post("/webhooks/{webhook_id}/secret")
def change_secret(webhook_id: str, house: House, caller: Calling, body: SecretBody | None = None) -> NewWebhookView:
    """Sign with another secret, which is shown once; with the earlier one too, until it is dropped."""
    asked = body or SecretBody()
    changed, new = webhooks.rotate(house, caller, webhook_id, asked.secret, asked.drop_earlier)
    return _shown_once(house, changed, new)


@router.delete("/webhooks/{webhook_id}", status_code=204)
def delete_webhook(webhook_id: str, house: House, caller: Calling) -> None:
    """Tell somebody nothing any more, and forget what was delivered."""
    webhooks.remove(house, caller, webhook_id)


@router.post("/webhooks/{webhook_id}/test")
def try_webhook(webhook_id: str, house: House, caller: Calling, body: TestBody | None = None) -> TestView:
    """Send an example of an event at once."""
    answer = webhook_example.send_example(house, caller, webhook_id, body.event if body else None)
    return TestView(status=answer.status, error=answer.error, milliseconds=answer.milliseconds)


@router.get("/dialects")
def list_dialects() -> DialectList:
    """List the dialects that this server speaks."""
    return DialectList(
        dialects=[
            DialectView(
                name=name,
                events=list(one.EVENTS),
                secret_settings=sorted(setting.name for setting in one.SETTINGS if setting.is_secret),
                url_is_secret=has_secret_url(name),
            )
            for name, one in sorted(spoken().items())
        ]
    )


@router.get("/deliveries")
def list_deliveries(
    house: House,
    caller: Calling,
    webhook_id: Annotated[str | None, Query(max_length=256)] = None,
    state: StateText | None = None,
    page_token: PageToken = None,
    max_results: PageSize = 50,
) -> DeliveryList:
    """List deliveries with all attempts, newest first."""
    listing = Listing("deliveries", (webhook_id, state))
    wanted = State(state) if state else None
    page = deliveries.delivered(house, caller, webhook_id, wanted, listing.start(page_token), max_results)
    return DeliveryList(
        deliveries=[_delivery(one, attempts) for one, attempts in page.made],
        next_page_token=listing.token(page.next_before),
    )


@router.get("/deliveries/{delivery_id}")
def show_delivery(delivery_id: RowId, house: House, caller: Calling) -> WholeDeliveryView:
    """Show a delivery, with the call as it would be made now."""
    return whole_delivery(deliveries.show(house, caller, delivery_id))


@router.post("/deliveries/{delivery_id}/redeliver")
def redeliver(delivery_id: RowId, house: House, caller: Calling) -> DeliveryView:
    """Deliver something once more, under the same id."""
    return _delivery(*deliveries.redeliver(house, caller, delivery_id))


def _webhook(webhook: Webhook, settings: dict[str, str]) -> WebhookView:
    return WebhookView(
        id=webhook.id,
        dialect=webhook.dialect,
        url=address(webhook.dialect, webhook.url),
        events=list(webhook.events),
        models=webhook.models,
        description=webhook.description,
        status=webhook.status.value,
        reason=webhook.reason,
        failing_since=webhook.failing_since,
        verify_certificate=webhook.verify_certificate,
        settings=settings,
        created_by=webhook.created_by,
        created_at=webhook.created_at,
        updated_at=webhook.updated_at,
    )


def _shown_once(house: House, webhook: Webhook, secret: str | None) -> NewWebhookView:
    shown = _webhook(webhook, webhooks.settings_of(house, webhook))
    return NewWebhookView(**shown.model_dump(), secret=secret)


def _delivery(delivery: Delivery, attempts: list[Attempted]) -> DeliveryView:
    return DeliveryView(
        id=delivery.id,
        webhook_id=delivery.webhook_id,
        event=delivery.name,
        model=delivery.model or None,
        message_id=delivery.message_id,
        state=delivery.state.value,
        attempts=[
            AttemptView(number=one.number, at=one.at, status=one.status, error=one.error, milliseconds=one.milliseconds)
            for one in attempts
        ],
        created_at=delivery.created_at,
        finished_at=delivery.finished_at,
    )


def whole_delivery(shown: Shown) -> WholeDeliveryView:
    """Return a delivery with all there is to see of it, as it is told."""
    return WholeDeliveryView(
        **_delivery(shown.delivery, list(shown.attempted)).model_dump(),
        call=_call(shown.drawn.call) if shown.drawn.call else None,
        why_no_call=shown.drawn.why_not,
    )


def _call(call: Call) -> CallView:
    body = call.body.decode("utf-8", "replace")
    return CallView(method=call.method, url=call.url, headers=dict(call.headers), body=body)
