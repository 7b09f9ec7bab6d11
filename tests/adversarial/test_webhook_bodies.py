"""Senseless calls of MLflow's and Databricks' webhooks: each is refused in MLflow's shape, and none is the server's fault."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.entities.webhook import WebhookEvent

from tests.conftest import BACKENDS
from tests.house import House
from tests.integration.test_webhooks import ALLOWED
from tests.receivers import Receiver

Called = list[tuple[str, str, dict[str, Any]]]

_WORDS = st.sampled_from(
    ["", "*", "a\x00", "\ud800", "ACTIVE", "TEST_MODE", "nothing", "model_version", "CREATED", "MODEL_VERSION_CREATED"]
)
_SMALL = st.none() | st.booleans() | st.integers(-1, 99) | st.just(10**30) | st.floats() | _WORDS | st.text(max_size=4)
_ANYTHING = st.recursive(
    _SMALL,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["entity", "action", "url", "secret", "authorization", "enable_ssl_verification"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=4,
)
_FIELDS = (
    "name",
    "url",
    "events",
    "event",
    "description",
    "secret",
    "status",
    "model_name",
    "http_url_spec",
    "job_spec",
)
_BODIES = st.dictionaries(st.sampled_from(_FIELDS), _ANYTHING, max_size=4)
_EVENT = {"entity": "MODEL_VERSION", "action": "CREATED"}

#: What was answered with 500 once, and other calls that are nearly right.
MLFLOW: list[dict[str, Any]] = [
    {"events": ["a\x00"]},
    {"events": [{}]},
    {"events": [{"entity": "MODEL_VERSION"}]},
    {"events": [{"entity": "MODEL_VERSION", "action": "EXCEEDED"}]},
    {"events": [{"entity": 0, "action": 0}]},
    {"events": {}},
    {"event": {}},
    {"event": {"entity": 99, "action": 99}},
    {"event": "MODEL_VERSION_CREATED"},
    {"status": "WEBHOOK_STATUS_UNSPECIFIED"},
    {"status": 7},
    {"name": "a\x00", "url": "http://127.0.0.1:9/", "events": [_EVENT]},
    {"name": "a", "url": "http://127.0.0.1:9/\x00", "events": [_EVENT]},
    {"name": "a", "url": "http://127.0.0.1:9/", "events": [_EVENT], "description": "\x00"},
    {"name": "\ud800", "url": "http://127.0.0.1:9/", "events": [_EVENT]},
    {"name": "a" * 10_000, "url": "http://127.0.0.1:9/", "events": [_EVENT]},
]
DATABRICKS: list[dict[str, Any]] = [
    {"events": ["a\x00"], "http_url_spec": {"url": "http://127.0.0.1:9/"}},
    {"events": [["MODEL_VERSION_CREATED"]], "http_url_spec": {"url": "http://127.0.0.1:9/"}},
    {"events": ["MODEL_VERSION_CREATED"], "http_url_spec": {"url": "http://127.0.0.1:9/\x00"}},
    {"events": ["MODEL_VERSION_CREATED"], "http_url_spec": {"url": "http://127.0.0.1:9/"}, "description": "\x00"},
    {"events": ["MODEL_VERSION_CREATED"], "http_url_spec": {"url": "http://127.0.0.1:9/"}, "model_name": "a\x00"},
    {"events": ["MODEL_VERSION_CREATED"], "http_url_spec": {"url": "http://127.0.0.1:9/", "authorization": "\ud800"}},
    {"events": ["MODEL_VERSION_CREATED"], "http_url_spec": {"url": "http://127.0.0.1:9/", "secret": "\ud800"}},
    {"event": "a\x00"},
    {"event": {}},
    {"status": None, "events": None},
]


@pytest.fixture(scope="module", params=BACKENDS)
def house(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("bodies")
    with closing(House(folder, new_database(request.param), environment=ALLOWED)) as opened:
        yield opened.open()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as opened:
        yield opened


@pytest.fixture(scope="module")
def called(house: House, receiver: Receiver) -> Called:
    """The calls about a webhook of each kind: method, path, and what is always in the body."""
    with house.acting_as("admin") as client:
        mlflows = client.create_webhook("hook", receiver.url, [WebhookEvent("model_version", "created")]).webhook_id
    made = house.http("admin").post(
        "/api/2.0/mlflow/registry-webhooks/create",
        json={"events": ["MODEL_VERSION_CREATED"], "http_url_spec": {"url": receiver.url}},
    )
    databricks = {"id": made.raise_for_status().json()["webhook"]["id"]}
    return [
        ("POST", "/api/2.0/mlflow/webhooks", {}),
        ("PATCH", f"/api/2.0/mlflow/webhooks/{mlflows}", {}),
        ("POST", f"/api/2.0/mlflow/webhooks/{mlflows}/test", {}),
        ("POST", "/api/2.0/mlflow/registry-webhooks/create", {}),
        ("PATCH", "/api/2.0/mlflow/registry-webhooks/update", databricks),
        ("POST", "/api/2.0/mlflow/registry-webhooks/test", databricks),
    ]


def understood(answer: httpx.Response) -> None:
    """What was senseless is refused as MLflow refuses; what happens to make sense is done."""
    assert answer.is_success or answer.status_code in (400, 409), f"{answer.status_code} {answer.text}"
    if not answer.is_success:
        assert set(answer.json()) >= {"error_code", "message"}
        assert answer.json()["message"]


@pytest.mark.parametrize("body", MLFLOW + DATABRICKS, ids=lambda body: ascii(body)[:60])
def test_bodies_that_are_nearly_right(house: House, called: Called, body: Any) -> None:
    for method, path, always in called:
        understood(send(house, method, path, {**body, **always}))


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 5), _BODIES)
def test_any_body(house: House, called: Called, number: int, body: dict[str, Any]) -> None:
    method, path, always = called[number]
    understood(send(house, method, path, {**body, **always}))


def send(house: House, method: str, path: str, body: Any) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return house.http("admin").request(method, path, content=json.dumps(body), headers=headers)
