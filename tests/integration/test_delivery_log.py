"""What was delivered, as people see it and have it told once more: by the API, the command and the pages."""

import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import httpx
import pytest
from mlflow.entities.webhook import WebhookEvent
from mlflow.exceptions import MlflowException

from tests.conftest import BACKENDS
from tests.house import House, form_of
from tests.integration.test_webhooks import HASTY, add, until
from tests.receivers import Receiver, ok, status

#: As Slack and others make them: whoever has it can write there.
SECRET_PATH = "/services/T0/B0/xyzzy-secret"

SignedIn = Callable[[str], httpx.Client]


@pytest.fixture(scope="module", params=BACKENDS)
def house(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("log")
    with closing(House(folder, new_database(request.param), environment=HASTY)) as opened:
        opened.open()
        # Who maintains some models, by a pattern that is no name of theirs.
        opened.call("admin", "POST", "/principals", {"name": "pam", "roles": ["maintainer:[ab]"]})
        opened.tokens["pam"] = opened.call("admin", "POST", "/tokens", {"principal": "pam"})["token"]
        yield opened


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as opened:
        yield opened


@pytest.fixture
def signed_in(house: House) -> Iterator[SignedIn]:
    """A browser of somebody who has signed in."""
    with ExitStack() as browsers:

        def sign_in(who: str) -> httpx.Client:
            headers = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin", "Origin": house.uri}
            browser = browsers.enter_context(httpx.Client(base_url=house.uri, headers=headers))
            form = form_of(browser.get("/lockgate/sign-in")) | {"token": house.tokens[who]}
            assert browser.post("/lockgate/sign-in", data=form).status_code == 303
            return browser

        yield sign_in


def told(house: House, receiver: Receiver, **more: Any) -> tuple[Any, Any]:
    """Have a webhook told of something; return it, and its delivery with all there is to see of it."""
    webhook = add(house, receiver, **{"events": ["model.updated"], **more})
    with house.acting_as("ada") as client:
        client.set_registered_model_tag(house.new_model(versions=0), "team", "fraud")
    [one] = until(lambda: finished(house, webhook))
    return webhook, house.call("admin", "GET", f"/deliveries/{one['id']}")


def finished(house: House, webhook: Any) -> Any:
    found = house.call("admin", "GET", f"/deliveries?webhook_id={webhook['id']}")["deliveries"]
    return found if found and found[0]["attempts"] else None


def test_a_call_is_shown_as_it_is_sent_but_for_its_signature(house: House, receiver: Receiver) -> None:
    _, shown = told(house, receiver)
    call, [sent] = shown["call"], receiver.requests
    assert (call["method"], call["url"]) == ("POST", receiver.url)
    assert json.loads(call["body"]) == json.loads(sent.body)
    assert call["headers"]["webhook-id"] == sent.headers["webhook-id"] == shown["message_id"]
    assert call["headers"]["webhook-signature"] == "..."
    assert [one["status"] for one in shown["attempts"]] == [200]


@pytest.mark.parametrize(
    ("more", "never", "seen"),
    [
        (
            {"dialect": "gitlab", "settings": {"project": "42", "ref": "main", "token": "glptt-hidden"}},
            "glptt-hidden",
            "token=...&ref=main",
        ),
        (
            {"dialect": "github", "settings": {"owner": "acme", "repo": "deploy", "token": "github-hidden"}},
            "github-hidden",
            "Bearer ...",
        ),
        (
            {
                "dialect": "databricks",
                "events": ["REGISTERED_MODEL_CREATED"],
                "secret": "signing-hidden",
                "settings": {"authorization": "Bearer hidden-token"},
            },
            "hidden",
            '"X-Databricks-Signature": "..."',
        ),
    ],
    ids=["gitlab", "github", "databricks"],
)
def test_no_secret_is_in_what_is_shown(
    house: House, receiver: Receiver, more: dict[str, Any], never: str, seen: str
) -> None:
    _, shown = told(house, receiver, **more)
    [sent] = receiver.requests
    assert never in sent.body.decode() + json.dumps(dict(sent.headers))
    text = json.dumps(shown["call"])
    assert never not in text
    assert seen in text
    signed = sent.headers.get("x-databricks-signature")
    assert signed is None or signed not in text


def test_the_url_of_a_chat_is_a_secret_once_it_is_set_up(house: House, receiver: Receiver, signed_in: SignedIn) -> None:
    url = receiver.url.replace("/hook", SECRET_PATH)
    webhook, shown = told(house, receiver, url=url, dialect="slack")
    assert receiver.requests[0].target == SECRET_PATH
    seen = json.dumps([webhook, shown, house.call("admin", "GET", "/webhooks")])
    seen += house.cli("admin", "webhooks", "show", webhook["id"]).stdout
    seen += signed_in("admin").get("/lockgate/webhooks").text
    assert "xyzzy" not in seen
    assert receiver.url.replace("/hook", "/services/...") in seen
    # Who gives back what they were shown changes nothing.
    house.call("admin", "PATCH", f"/webhooks/{webhook['id']}", {"url": webhook["url"], "description": "chat"})
    house.call("admin", "POST", f"/webhooks/{webhook['id']}/test")
    assert receiver.requests[-1].target == SECRET_PATH
    # It was given for a receiver that shows who it is.
    refused = house.call("admin", "PATCH", f"/webhooks/{webhook['id']}", {"verify_certificate": False}, 400)
    assert "url again" in refused["message"]


def test_what_is_delivered_again_is_on_record_and_made_at_once(house: House, receiver: Receiver) -> None:
    webhook, shown = told(house, receiver)
    house.call("admin", "POST", f"/deliveries/{shown['id']}/redeliver")
    until(lambda: len(receiver.requests) == 2)
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    entries = house.rows("SELECT after, actor FROM lockgate_audit WHERE action = 'webhook.changed' ORDER BY id")
    told_again = [(json.loads(after), actor) for after, actor in entries if webhook["id"] in after]
    assert told_again[-1] == ({"webhook_id": webhook["id"], "redelivered": shown["id"]}, "admin")


def test_what_is_delivered_again_follows_its_model_to_its_new_name(house: House, receiver: Receiver) -> None:
    _, shown = told(house, receiver, events=["model.updated", "model.renamed"])
    with house.acting_as("ada") as client:
        client.rename_registered_model(shown["model"], f"{shown['model']}-renamed")
    until(lambda: len(receiver.requests) == 2)
    again = house.call("admin", "POST", f"/deliveries/{shown['id']}/redeliver")
    assert (again["model"], again["state"]) == (f"{shown['model']}-renamed", "waiting")
    until(lambda: len(receiver.requests) == 3)
    assert receiver.requests[2].headers["webhook-id"] == shown["message_id"]
    found = until(lambda: _if_delivered(house, shown["id"]))
    assert (found["model"], len(found["attempts"])) == (again["model"], 2)


def _if_delivered(house: House, delivery_id: int) -> Any:
    found = house.call("admin", "GET", f"/deliveries/{delivery_id}")
    return found if found["state"] == "delivered" else None


def test_a_name_that_looks_like_a_pattern_is_none(house: House, receiver: Receiver) -> None:
    """Who maintains `[ab]` maintains the models a and b, not the one that is called so."""
    webhook = add(house, receiver, events=["model.updated"])
    house.new_model("[ab]", versions=0)
    house.new_model("b", versions=0)
    with house.acting_as("ada") as client:
        client.set_registered_model_tag("[ab]", "n", "1")
        client.set_registered_model_tag("b", "n", "1")
    until(lambda: len(receiver.requests) == 2)
    house.call("admin", "PATCH", f"/webhooks/{webhook['id']}", {"models": "[ab]"})
    asked = f"/deliveries?webhook_id={webhook['id']}"
    assert [one["model"] for one in house.call("pam", "GET", asked)["deliveries"]] == ["b"]
    [hidden] = [one for one in house.call("admin", "GET", asked)["deliveries"] if one["model"] == "[ab]"]
    house.call("pam", "GET", f"/deliveries/{hidden['id']}", status=404)
    house.call("pam", "POST", f"/deliveries/{hidden['id']}/redeliver", status=404)


def test_only_who_maintains_a_webhook_sees_what_it_is_told(
    house: House, receiver: Receiver, signed_in: SignedIn
) -> None:
    _, shown = told(house, receiver)
    for name in ("ada", "vic", "pam"):
        house.call(name, "GET", f"/deliveries/{shown['id']}", status=404)
    page = signed_in("vic")
    assert page.get(f"/lockgate/deliveries/{shown['id']}").status_code == 404
    assert "/lockgate/webhooks" not in page.get("/lockgate/requests").text
    assert "/lockgate/webhooks" in signed_in("max").get("/lockgate/requests").text


# Databricks' dialect


def test_an_update_of_databricks_changes_only_what_it_names(house: House, receiver: Receiver) -> None:
    spec = {"url": receiver.url, "secret": "s3cr3t", "authorization": "Bearer t0ken"}
    made = databricks(house, "POST", "create", {"events": ["MODEL_VERSION_CREATED"], "http_url_spec": spec})
    one = made["webhook"]["id"]

    def heard() -> tuple[bool, str | None]:
        databricks(house, "POST", "test", {"id": one})
        headers = receiver.requests[-1].headers
        return "x-databricks-signature" in headers, headers.get("authorization")

    databricks(house, "PATCH", "update", {"id": one, "http_url_spec": {"url": receiver.url}})
    assert heard() == (True, "Bearer t0ken")
    with Receiver() as other:
        moved = {"id": one, "http_url_spec": {"url": other.url}}
        refused = databricks(house, "PATCH", "update", moved, 400)
        assert (refused["error_code"], "authorization again" in refused["message"]) == ("INVALID_PARAMETER_VALUE", True)
        assert other.requests == []
    assert heard() == (True, "Bearer t0ken")
    for emptied, left in (("authorization", (True, None)), ("secret", (False, None))):
        databricks(house, "PATCH", "update", {"id": one, "http_url_spec": {"url": receiver.url, emptied: ""}})
        assert heard() == left


def databricks(house: House, method: str, action: str, body: Any, expected: int = 200) -> Any:
    path = f"/api/2.0/mlflow/registry-webhooks/{action}"
    answer = house.http("admin").request(method, path, json=body)
    assert answer.status_code == expected, answer.text
    return answer.json()


# MLflow's own


def test_what_mlflow_tells_by_itself_is_not_tried_out(house: House, receiver: Receiver) -> None:
    with house.acting_as("admin") as client:
        made = client.create_webhook("budgets", receiver.url, [WebhookEvent("budget_policy", "exceeded")])
        with pytest.raises(MlflowException, match=r"MLflow sends budget_policy\.exceeded by itself"):
            client.test_webhook(made.webhook_id)
        tried = client.test_webhook(made.webhook_id, WebhookEvent("model_version", "created"))
        assert (tried.success, len(receiver.requests)) == (True, 1)
        client.delete_webhook(made.webhook_id)


# The command


def test_the_command_shows_changes_and_never_takes_a_secret_in_the_open(house: House, receiver: Receiver) -> None:
    given = ["webhooks", "add", receiver.url.removesuffix("/hook"), "--dialect", "gitlab", "--event", "promotion.done"]
    given += ["--setting", "project=42", "--setting", "ref=main"]
    refused = house.cli("admin", *given, "--setting", "token=in-the-open")
    assert (refused.returncode, "--setting token=-" in refused.stderr) == (1, True)
    assert "in-the-open" not in refused.stderr
    refused = house.cli("admin", *given, "--setting", "token=-", "--setting", "variables[KEY]=open", input="t\n")
    assert (refused.returncode, "--setting variables[KEY]=-" in refused.stderr) == (1, True)
    nothing = house.cli("admin", *given, "--setting", "token=-", input="")
    assert (nothing.returncode, "no line for token" in nothing.stderr) == (1, True)
    made = json.loads(house.cli("admin", *given, "--setting", "token=-", "--json", input="hidden-token\n").stdout)
    one = made["id"]

    change = ["webhooks", "change", one, "--description", "CI", "--setting"]
    refused = house.cli("admin", *change, "ref=dev")
    assert (refused.returncode, "Give token again" in refused.stderr) == (1, True)
    changed = house.cli("admin", *change, "ref=dev", "--setting", "token=-", input="hidden-token\n")
    assert changed.returncode == 0, changed.stderr
    # What is left out stays, what is secret too.
    changed = house.cli("admin", *change, "variables[KEY]=-", input="k\n")
    assert changed.returncode == 0, changed.stderr
    shown = house.cli("admin", "webhooks", "show", one).stdout
    assert re.findall("^(?:description|setting .*): .*$", shown, re.M) == [
        "description: CI",
        "setting project: 42",
        "setting ref: dev",
        "setting token: ...",
        "setting variables[KEY]: ...",
    ]
    house.call("admin", "POST", f"/webhooks/{one}/test")
    assert b"hidden-token" in receiver.requests[-1].body
    assert b"ref=dev" in receiver.requests[-1].body
    assert "gitlab" in house.cli("admin", "webhooks", "dialects").stdout


def test_the_command_takes_a_secret_of_ones_own(house: House, receiver: Receiver) -> None:
    mine = "whsec_" + "bWluZSBpcyBhIHNlY3JldCBvZiAyNCBieXRlcw=="
    made = house.cli("admin", "webhooks", "add", "-", "--secret-stdin", input=f"{receiver.url}\n{mine}\n")
    assert mine in made.stdout, made.stderr
    one = re.findall("Webhook ([0-9a-f]{32})", made.stdout)[0]
    short = house.cli("admin", "webhooks", "secret", one, "--secret-stdin", input="short\n")
    assert (short.returncode, "whsec_" in short.stderr) == (1, True)


def test_the_command_goes_through_deliveries_page_by_page(house: House, receiver: Receiver) -> None:
    webhook, first = told(house, receiver)
    with house.acting_as("ada") as client:
        client.set_registered_model_tag(first["model"], "n", "2")
    until(lambda: len(finished(house, webhook) or ()) == 2)
    page = json.loads(house.cli("admin", "deliveries", "--webhook", webhook["id"], "--limit", "1", "--json").stdout)
    older = page["next_page_token"]
    listed = house.cli("admin", "deliveries", "--webhook", webhook["id"], "--limit", "1")
    assert f"--page {older}" in listed.stdout
    rest = house.cli("admin", "deliveries", "--webhook", webhook["id"], "--page", older, "--limit", "1").stdout
    assert str(first["id"]) in rest
    assert "--page" not in rest
    shown = house.cli("admin", "deliveries", "show", str(first["id"])).stdout
    assert f"POST {receiver.url}" in shown
    assert "webhook-signature: ..." in shown


# The pages


def test_buttons_do_nothing_for_another_site(house: House, receiver: Receiver, signed_in: SignedIn) -> None:
    webhook, shown = told(house, receiver)
    browser = signed_in("admin")
    token = form_of(browser.get(f"/lockgate/deliveries/{shown['id']}"))
    buttons = [f"/lockgate/deliveries/{shown['id']}/redeliver"]
    buttons += [f"/lockgate/webhooks/{webhook['id']}/{action}" for action in ("disable", "enable", "test")]
    for button in buttons:
        assert browser.post(button, data={}).status_code == 403
        assert browser.post(button, data={"csrf_token": secrets.token_hex(16)}).status_code == 403
        assert browser.post(button, data=token, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert browser.get(button).status_code in (404, 405)
    assert len(receiver.requests) == 1
    assert house.call("admin", "GET", f"/webhooks/{webhook['id']}")["status"] == "active"
    for button in buttons:
        answer = browser.post(button, data=token)
        assert answer.status_code == 303, answer.text
        assert answer.headers["location"].startswith("/lockgate/")
    until(lambda: len(receiver.requests) == 3)


def test_pages_say_what_is_wrong_with_what_they_are_asked(
    house: House, receiver: Receiver, signed_in: SignedIn
) -> None:
    browser = signed_in("admin")
    for path in (
        "/lockgate/deliveries?state=lost",
        "/lockgate/deliveries?page_token=x",
        "/lockgate/deliveries/x",
        "/lockgate/webhooks?answered=many",
    ):
        answer = browser.get(path)
        assert (answer.status_code, "<h1>" in answer.text) == (400, True), path
    assert browser.get("/lockgate/deliveries/999999").status_code == 404
    made_up = browser.get("/lockgate/webhooks?tested=x&failure=Call%20this%20number&answered=200").text
    assert "Call this number" not in made_up
    # One that gets nothing now says so in place of the button.
    webhook, shown = told(house, receiver)
    house.call("admin", "PATCH", f"/webhooks/{webhook['id']}", {"status": "disabled"})
    page = browser.get(f"/lockgate/deliveries/{shown['id']}").text
    assert ("Deliver again" in page, "Its webhook is disabled" in page) == (False, True)
    form = form_of(browser.get("/lockgate/webhooks"))
    refused = browser.post(f"/lockgate/deliveries/{shown['id']}/redeliver", data=form)
    assert (refused.status_code, "Make it active first" in refused.text) == (409, True)


def test_a_receiver_that_fails_is_seen_to_fail(house: House, receiver: Receiver, signed_in: SignedIn) -> None:
    receiver.behaviour = status(500)
    webhook, shown = told(house, receiver)
    browser = signed_in("admin")
    until(lambda: house.call("admin", "GET", f"/webhooks/{webhook['id']}")["status"] == "failed")
    assert "it answered 500" in browser.get("/lockgate/webhooks").text
    receiver.behaviour = ok
    form = form_of(browser.get("/lockgate/webhooks"))
    browser.post(f"/lockgate/webhooks/{webhook['id']}/enable", data=form)
    until(lambda: house.call("admin", "GET", f"/deliveries/{shown['id']}")["state"] == "delivered")


def test_who_speaks_databricks_dialect_changes_webhooks_of_that_dialect_only(house: House, receiver: Receiver) -> None:
    chat = house.call("admin", "POST", "/webhooks", {"url": f"{receiver.url}/secret", "dialect": "slack"}, 201)["id"]
    admin = house.http("admin")
    for method, path, more in (
        ("PATCH", "update", {"description": "x"}),
        ("DELETE", "delete", {}),
        ("POST", "test", {}),
    ):
        answer = admin.request(method, f"/api/2.0/mlflow/registry-webhooks/{path}", json={"id": chat, **more})
        assert answer.status_code == 404, path
        assert "secret" not in answer.text
    assert house.call("admin", "GET", f"/webhooks/{chat}")["description"] == ""


def test_who_signs_nothing_has_no_secret_to_sign_with(house: House, receiver: Receiver) -> None:
    chat = house.call("admin", "POST", "/webhooks", {"url": receiver.url, "dialect": "slack"}, 201)["id"]
    assert "signs nothing" in house.call("admin", "POST", f"/webhooks/{chat}/secret", {}, 400)["message"]
