"""The pages of webhooks and of what is delivered to them."""

import json
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response

from lockgate.access.principals import current_caller
from lockgate.database.deliveries import State
from lockgate.database.webhooks import Status
from lockgate.delivery.answer import Failure
from lockgate.errors import BadInput
from lockgate.server.calls import PageToken, in_workspace
from lockgate.server.drawing import HEADERS, Drawing
from lockgate.server.webhooks import list_deliveries, whole_delivery
from lockgate.settings import WorkerSettings
from lockgate.wire.webhooks import StateText
from lockgate.wire.words import RowId
from lockgate.workflow import deliveries, webhook_example, webhooks
from lockgate.workflow.shown import address
from lockgate.workflow.stores import stores

_Id = Annotated[str, Query(max_length=256)]
#: Of what came of an example. Whoever makes up an address can say only what may have come.
_Answered = Annotated[int | None, Query(ge=100, le=999)]


class WebhookPages:
    """The pages, and what their buttons do.

    Args:
        settings: The worker's settings.
        drawing: Draws pages.
    """

    def __init__(self, settings: WorkerSettings, drawing: Drawing) -> None:
        self._root = f"{settings.static_prefix}/lockgate"
        self._drawing = drawing

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(include_in_schema=False, dependencies=[Depends(in_workspace)])
        router.get("/webhooks")(self.webhooks_page)
        router.post("/webhooks/{webhook_id}/enable")(self.enable)
        router.post("/webhooks/{webhook_id}/disable")(self.disable)
        router.post("/webhooks/{webhook_id}/test")(self.test)
        router.get("/deliveries")(self.deliveries_page)
        router.get("/deliveries/{delivery_id}")(self.delivery_page)
        router.post("/deliveries/{delivery_id}/redeliver")(self.redeliver)
        return router

    def webhooks_page(
        self, request: Request, tested: _Id = "", answered: _Answered = None, failure: _Id = ""
    ) -> Response:
        """List webhooks; and say what came of the example that was just sent to one."""
        return self._drawing.page(
            request,
            "webhooks.html",
            webhooks=deliveries.receivers_of(stores(), current_caller()),
            address=address,
            tested=tested,
            came=_came(failure, answered),
        )

    def enable(self, webhook_id: str) -> Response:
        """Tell a webhook again."""
        return self._become(webhook_id, Status.ACTIVE)

    def disable(self, webhook_id: str) -> Response:
        """Tell a webhook nothing for now."""
        return self._become(webhook_id, Status.DISABLED)

    def test(self, webhook_id: str) -> Response:
        """Send an example to a webhook."""
        answer = webhook_example.send_example(stores(), current_caller(), webhook_id, None)
        failed = next((one.name for one in Failure if one.value == answer.error), "")
        return self._see("/webhooks", tested=webhook_id, failure=failed, answered=answer.status)

    def deliveries_page(
        self, request: Request, webhook_id: _Id = "", state: _Id = "", page_token: PageToken = None
    ) -> Response:
        """List deliveries, newest first."""
        house, caller = stores(), current_caller()
        listed = list_deliveries(house, caller, webhook_id or None, _state(state), page_token)
        following = {"webhook_id": webhook_id, "state": state, "page_token": listed.next_page_token}
        return self._drawing.page(
            request,
            "deliveries.html",
            deliveries=listed.deliveries,
            webhooks={one.id: one for one in deliveries.receivers_of(house, caller)},
            address=address,
            states=list(State),
            webhook_id=webhook_id,
            state=state,
            older=_query(following) if listed.next_page_token else "",
        )

    def delivery_page(self, request: Request, delivery_id: RowId) -> Response:
        """Show a delivery, its call and all attempts."""
        shown = deliveries.show(stores(), current_caller(), delivery_id)
        delivery = whole_delivery(shown)
        return self._drawing.page(
            request,
            "delivery.html",
            delivery=delivery,
            webhook=shown.webhook,
            address=address,
            body=_pretty(delivery.call.body) if delivery.call else "",
        )

    def redeliver(self, delivery_id: RowId) -> Response:
        """Deliver something once more."""
        deliveries.redeliver(stores(), current_caller(), delivery_id)
        return self._see(f"/deliveries/{delivery_id}")

    def _become(self, webhook_id: str, status: Status) -> Response:
        webhooks.change(stores(), current_caller(), webhook_id, status=status)
        return self._see("/webhooks")

    def _see(self, path: str, **said: Any) -> Response:
        """Return the answer that leads from a button to a page: loading that again repeats nothing."""
        query = _query(said)
        return RedirectResponse(f"{self._root}{path}{f'?{query}' if query else ''}", 303, HEADERS)


def _came(failure: str, answered: int | None) -> str:
    """Return what came of an example in words; nothing if none was sent."""
    failed = Failure.__members__.get(failure)
    return failed.value if failed else f"It answered {answered}." if answered else ""


def _query(said: dict[str, Any]) -> str:
    return urlencode({name: value for name, value in said.items() if value})


def _state(text: str) -> StateText | None:
    """Read the state that a form asks for; nothing is any."""
    if not text:
        return None
    try:
        return State(text).value
    except ValueError:
        raise BadInput(f"There is no state '{text}'. There are: {', '.join(State)}.") from None


def _pretty(body: str) -> str:
    """Return JSON as people read it; anything else as it is."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body
