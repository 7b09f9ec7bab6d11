"""What the client of Databricks' webhooks sends, and what it makes of the answers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from lockgate.client import LockgateClient
from tests.receivers import Receiver, Visit, answer, status

CALLS = "/api/2.0/mlflow/registry-webhooks"
HOOK = {
    "id": "1",
    "events": ["COMMENT_CREATED"],
    "status": "ACTIVE",
    "http_url_spec": {"url": "https://ci.example.com"},
}


@pytest.fixture
def server() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def client(server: Receiver) -> LockgateClient:
    return LockgateClient(server.url.removesuffix("/hook"))


def answering(*bodies: Any) -> Any:
    """Answer each call with what is next."""
    left = iter(bodies)

    def behave(visit: Visit) -> None:
        visit.take()
        visit.say(answer(200, json.dumps(next(left)).encode(), {"Connection": "close"}))

    return behave


def sent(server: Receiver) -> tuple[str, str, Any]:
    request = server.requests[-1]
    return request.method, request.target, json.loads(request.body or b"null")


def test_create_sends_what_was_given(server: Receiver) -> None:
    server.behaviour = answering({"webhook": HOOK}, {"webhook": HOOK})
    made = client(server).create_registry_webhook(("COMMENT_CREATED",), {"url": "https://ci.example.com"}, "fraud")
    assert (made.id, made.events, made.model_name) == ("1", ("COMMENT_CREATED",), None)
    method, target, body = sent(server)
    assert (method, target, body["model_name"]) == ("POST", f"{CALLS}/create", "fraud")
    client(server).create_registry_webhook(["COMMENT_CREATED"], {"url": "https://ci.example.com"})
    assert "model_name" not in sent(server)[2]


def test_list_follows_its_pages(server: Receiver) -> None:
    server.behaviour = answering(
        {"webhooks": [HOOK], "next_page_token": "more"}, {"webhooks": [{**HOOK, "id": "2", "model_name": "fraud"}]}
    )
    found = client(server).list_registry_webhooks(events=["COMMENT_CREATED", "REGISTERED_MODEL_CREATED"])
    assert [(one.id, one.model_name) for one in found] == [("1", None), ("2", "fraud")]
    named = "events=COMMENT_CREATED&events=REGISTERED_MODEL_CREATED"
    assert [one.target for one in server.requests] == [
        f"{CALLS}/list?{named}",
        f"{CALLS}/list?{named}&page_token=more",
    ]


def test_update_delete_and_test_name_the_webhook(server: Receiver) -> None:
    server.behaviour = answering({"webhook": HOOK}, {}, {"status_code": 200, "body": "OK"}, {"status_code": 0})
    one = client(server)
    one.update_registry_webhook("1", status="DISABLED")
    assert sent(server) == ("PATCH", f"{CALLS}/update", {"id": "1", "status": "DISABLED"})
    one.delete_registry_webhook("1")
    assert sent(server) == ("DELETE", f"{CALLS}/delete?id=1", None)
    assert one.test_registry_webhook("1") == {"status_code": 200, "body": "OK"}
    assert sent(server) == ("POST", f"{CALLS}/test", {"id": "1"})
    one.test_registry_webhook("1", "COMMENT_CREATED")
    assert sent(server)[2] == {"id": "1", "event": "COMMENT_CREATED"}


def test_a_refusal_is_mlflows_exception(server: Receiver) -> None:
    refusal = {"error_code": "PERMISSION_DENIED", "message": "bob may not."}
    server.behaviour = status(403, json.dumps(refusal).encode())
    with pytest.raises(MlflowException, match="bob may not") as refused:
        client(server).delete_registry_webhook("1")
    assert refused.value.error_code == "PERMISSION_DENIED"
