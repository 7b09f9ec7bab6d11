"""Webhooks as they are changed and shown."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.access.roles import EVERY_MODEL
from lockgate.database.webhooks import Status
from lockgate.delivery.receivers import Secrets
from lockgate.errors import BadInput
from lockgate.events.dialects.standard import check_secret
from lockgate.server.registry_webhooks import _model, _pattern
from lockgate.workflow.shown import SHOWN
from lockgate.workflow.webhook_wanted import Wanted, _kept, changed, check_stays_secret, new_secrets
from lockgate.workflow.webhooks import _of_another_status

NOON = datetime(2026, 5, 12, 12, tzinfo=UTC)
BEFORE = Wanted(
    "gitlab",
    "https://gitlab.example.com",
    ("*",),
    secrets=Secrets(("s",), {"project": "42", "ref": "main", "token": "t"}),
)
GITHUB = Wanted(
    "github",
    "https://api.github.com",
    ("*",),
    secrets=Secrets((), {"owner": "acme", "repo": "deploy", "event_type": "go", "token": "t"}),
)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"project": "43", "token": SHOWN}, {"project": "43", "token": "t"}),
        ({"project": "42", "token": "new"}, {"project": "42", "token": "new"}),
        ({"project": "42"}, {"project": "42"}),
        ({}, {}),
        # There was none that could have been shown.
        ({"branch": SHOWN}, {}),
    ],
)
def test_who_sends_dots_back_keeps_what_was_secret(given: dict[str, str], kept: dict[str, str]) -> None:
    assert _kept(BEFORE.secrets.settings, given) == kept


def test_what_is_left_out_stays() -> None:
    assert changed(BEFORE, {}) == BEFORE
    assert changed(BEFORE, {"models": "fraud"}) == replace(BEFORE, models="fraud")
    assert changed(BEFORE, {"signing": ()}).secrets == Secrets((), BEFORE.secrets.settings)
    after = changed(BEFORE, {"settings": {"project": "43", "token": SHOWN}})
    assert after == replace(BEFORE, secrets=Secrets(("s",), {"project": "43", "token": "t"}))


@pytest.mark.parametrize(
    ("before", "name"),
    [
        (BEFORE, "project"),
        # The pipeline of another branch could print what stands in its variables.
        (BEFORE, "ref"),
        (GITHUB, "owner"),
        (GITHUB, "repo"),
        # Another workflow may be one's own.
        (GITHUB, "event_type"),
    ],
)
@pytest.mark.parametrize("value", ["mine", None])
def test_what_is_secret_does_not_go_elsewhere(before: Wanted, name: str, value: str | None) -> None:
    shown = {**before.secrets.settings, "token": SHOWN}
    elsewhere = {key: given for key, given in {**shown, name: value}.items() if given is not None}
    with pytest.raises(BadInput, match="Give token again"):
        check_stays_secret(before, {"settings": elsewhere})
    check_stays_secret(before, {"settings": {**elsewhere, "token": "new"}})
    check_stays_secret(before, {"settings": shown})


def test_what_came_while_it_had_failed_is_told_and_what_came_while_it_was_disabled_is_not() -> None:
    assert "told_since" not in _of_another_status(Status.FAILED, NOON)
    assert _of_another_status(Status.DISABLED, NOON) == {"reason": "", "failing_since": None, "told_since": NOON}


def test_only_standard_webhooks_are_given_a_secret() -> None:
    [made] = new_secrets("standard", None, {}).signing
    check_secret(made)
    assert new_secrets("slack", None, {}) == Secrets()
    assert new_secrets("standard", "mine", {"a": "b"}) == Secrets(("mine",), {"a": "b"})


@given(st.text("ab[]*?!-", min_size=1))
def test_databricks_clients_see_the_name_that_they_gave(name: str) -> None:
    assert _model(_pattern(name)) == {"model_name": name}


def test_databricks_clients_see_no_name_where_a_webhook_is_about_all_models() -> None:
    assert _model(EVERY_MODEL) == _model(_pattern(None)) == {}


def test_databricks_clients_see_patterns_as_they_are() -> None:
    assert _model("payments-*") == {"model_name": "payments-*"}
