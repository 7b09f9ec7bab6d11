"""Events to tell in tests, as the outbox would have them."""

from datetime import UTC, datetime
from typing import Any

from lockgate.events.dialect import Attempt, Told
from lockgate.events.event import EventType

AT = datetime(2026, 5, 12, 14, 0, 0, 123000, tzinfo=UTC)
#: A minute later: the second attempt, say.
ATTEMPT = Attempt(
    "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", datetime(2026, 5, 12, 14, 1, tzinfo=UTC), "https://gate.example.com"
)

STAGES_BEFORE = {"2": "Production", "3": "Staging"}
STAGES_AFTER = {"2": "Archived", "3": "Production"}


def told(kind: EventType = EventType.PROMOTED, **data: Any) -> Told:
    """Return an event; what isn't said is that of a promotion which archived what served before."""
    model = data.pop("model", "fraud")
    workspace = data.pop("workspace", "default")
    known = {"actor": "bot", "outcome": "done", "model": model, **data}
    return Told(41, kind, AT, workspace, model, {key: value for key, value in known.items() if value is not None})


PROMOTION = told(
    version=3,
    target="stage:Production",
    request_id=7,
    before={"version": 2, "stages": STAGES_BEFORE},
    after={"version": 3, "stages": STAGES_AFTER},
    reason="better on all counts",
)
