"""Which deliveries come of events."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lockgate.database.outbox import Stored
from lockgate.database.webhooks import EVERY_EVENT, Status, Webhook
from lockgate.delivery.fanout import deliveries_of
from lockgate.errors import BadInput
from lockgate.events.dialect import Dialect, Told
from lockgate.events.dialects.named import dialects
from lockgate.events.event import EventType

NOON = datetime(2026, 5, 12, 12, tzinfo=UTC)
SPOKEN = dialects()
HOOK = Webhook(
    id="hook",
    workspace="default",
    dialect="standard",
    description="",
    url="https://ci.example.com",
    events=(EVERY_EVENT,),
    models="*",
    status=Status.ACTIVE,
    verify_certificate=True,
    created_at=NOON,
    updated_at=NOON,
    secret="",
    told_since=NOON,
)
MOVED = {
    "version": 3,
    "target": "stage:Production",
    "before": {"stages": {"2": "Production", "3": "Staging"}},
    "after": {"stages": {"2": "Archived", "3": "Production"}},
}


def event(
    number: int = 1, model: str | None = "fraud", at: datetime = NOON, of: EventType = EventType.PROMOTED
) -> Stored:
    return Stored(number, Told(number + 40, of, at, "default", model, MOVED))


def spoken(name: str) -> Dialect:
    if name not in SPOKEN:
        raise BadInput(f"There is no dialect '{name}'.")
    return SPOKEN[name]


def names(hook: Webhook, *events: Stored) -> list[str]:
    return [one.name for one in deliveries_of(events or (event(),), [hook], spoken)]


def test_each_webhook_is_told_of_each_event_in_order() -> None:
    events = [event(1), event(2, "churn"), event(3)]
    made = deliveries_of(events, [HOOK, replace(HOOK, id="other")], spoken)
    assert [(one.event.number, one.webhook_id) for one in made] == [
        (number, hook) for number in (1, 2, 3) for hook in ("hook", "other")
    ]
    assert [one.lane for one in made[::2]] == ["fraud", "churn", "fraud"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, True),
        ({"models": "fr*"}, True),
        ({"models": "Fraud"}, False),
        ({"workspace": "another"}, False),
        ({"status": Status.FAILED}, True),
        ({"status": Status.DISABLED}, False),
        ({"status": Status.TEST}, False),
        ({"told_since": NOON + timedelta(milliseconds=1)}, False),
        ({"events": ("promotion.done",)}, True),
        ({"events": ("promotion.refused",)}, False),
        ({"dialect": "a template that is gone"}, False),
    ],
)
def test_who_is_told(changed: dict[str, object], told: bool) -> None:
    hook = replace(HOOK, **changed)  # type: ignore[arg-type]
    assert bool(names(hook)) is told


def test_what_is_about_no_model_is_told_to_who_is_told_of_all() -> None:
    about_none = event(model=None, of=EventType.POLICY_APPLIED)
    [made] = deliveries_of([about_none], [HOOK, replace(HOOK, models="fraud")], spoken)
    assert (made.webhook_id, made.lane) == ("hook", "")


def test_what_has_failed_is_kept_and_not_sent() -> None:
    made = deliveries_of([event()], [HOOK, replace(HOOK, status=Status.FAILED)], spoken)
    assert [one.is_due for one in made] == [True, False]


def test_one_event_may_be_several_of_a_dialects_and_is_told_as_those_that_were_asked_for() -> None:
    every = replace(HOOK, dialect="databricks")
    assert names(every) == list(SPOKEN["databricks"].names(event().told))
    archived = replace(every, events=("MODEL_VERSION_TRANSITIONED_TO_ARCHIVED",))
    assert names(archived) == ["MODEL_VERSION_TRANSITIONED_TO_ARCHIVED:2"]


def test_an_event_that_is_none_of_a_dialects_is_not_told() -> None:
    assert names(replace(HOOK, dialect="mlflow")) == []


def test_a_dialect_that_is_gone_keeps_nobody_else_from_being_told() -> None:
    made = deliveries_of([event()], [replace(HOOK, id="gone", dialect="gone"), HOOK], spoken)
    assert [one.webhook_id for one in made] == ["hook"]
