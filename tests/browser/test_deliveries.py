"""The pages of webhooks and deliveries in a real browser: a receiver fails, is mended, and is told again."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SignedIn
from tests.browser.test_pages import PHONE
from tests.conftest import BACKENDS
from tests.house import House
from tests.integration.test_webhooks import ALLOWED, until
from tests.receivers import Receiver, malformed, ok, status

#: The second attempt comes when these tests have long ended: whatever arrives before was sent by a button.
PATIENT = {**ALLOWED, "LOCKGATE_WEBHOOK_RETRIES": "600,600"}
ATTACK = "<img src=x onerror=alert(1)><script>alert(1)</script>"


@pytest.fixture(scope="module", params=BACKENDS)
def house(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    with closing(House(tmp_path_factory.mktemp("pages"), new_database(request.param), environment=PATIENT)) as opened:
        yield opened.open()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as opened:
        yield opened


def add(house: House, receiver: Receiver, description: str, **more: object) -> str:
    body = {"url": receiver.url, "events": ["model.updated"], "description": description, **more}
    made: str = house.call("admin", "POST", "/webhooks", body, 201)["id"]
    return made


def change_a_model(house: House, name: str | None = None) -> str:
    model = house.new_model(name, versions=0)
    with house.acting_as("ada") as client:
        client.set_registered_model_tag(model, "team", ATTACK)
    return model


def test_what_failed_is_delivered_again_once_the_receiver_is_mended(
    house: House, signed_in: SignedIn, receiver: Receiver
) -> None:
    webhook = add(house, receiver, "the team's CI")
    receiver.behaviour = status(500)
    model = change_a_model(house)
    until(lambda: [one for one in delivered(house, webhook) if one["attempts"]])

    page = signed_in("max", "/lockgate/requests")
    page.get_by_role("link", name="Deliveries").press("Enter")
    page.get_by_label("Webhook").select_option(label=f"the team's CI ({webhook[:8]})")
    page.get_by_label("State").select_option("waiting")
    page.get_by_role("button", name="Show").press("Enter")
    row = page.get_by_role("row").nth(1)
    expect(page.get_by_role("row")).to_have_count(2)
    for text in ("waiting", "model.updated", model, "500"):
        expect(row).to_contain_text(text)
    row.get_by_role("link").press("Enter")
    expect(page.get_by_label("Call", exact=True)).to_contain_text(f"POST {receiver.url}")
    expect(page.get_by_label("Call", exact=True)).to_contain_text("webhook-signature: ...")
    expect(page.get_by_role("table").get_by_role("row").nth(1)).to_contain_text("500")

    receiver.behaviour = ok
    page.get_by_role("button", name="Deliver again").press("Enter")
    until(lambda: len(receiver.requests) == 2)
    until(lambda: house.call("admin", "GET", f"/deliveries?webhook_id={webhook}&state=delivered")["deliveries"])
    # The button led back to the page: to load it again repeats nothing.
    page.reload()
    expect(page.locator("strong.delivered")).to_be_visible()
    expect(page.get_by_role("table").get_by_role("row").nth(1)).to_contain_text("200")
    assert len(receiver.requests) == 2
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


def test_a_webhook_is_tried_out_disabled_and_enabled(house: House, signed_in: SignedIn, receiver: Receiver) -> None:
    webhook = add(house, receiver, "to be tried out")
    page = signed_in("max", "/lockgate/webhooks")
    card = page.locator("section").filter(has_text="to be tried out")
    card.get_by_role("button", name="Send an example").press("Enter")
    expect(card.get_by_role("status")).to_have_text("An example was sent. It answered 200.")
    assert len(receiver.requests) == 1
    receiver.behaviour = malformed()
    card.get_by_role("button", name="Send an example").click()
    expect(card.get_by_role("status")).to_contain_text("The answer was not HTTP")
    card.get_by_role("button", name="Disable").click()
    expect(card.locator("strong")).to_have_text("disabled")
    expect(card.get_by_role("button", name="Disable")).to_have_count(0)
    card.get_by_role("button", name="Enable").click()
    expect(card.locator("strong")).to_have_text("active")
    assert house.call("admin", "GET", f"/webhooks/{webhook}")["status"] == "active"


def test_one_that_is_gone_says_why(house: House, signed_in: SignedIn, receiver: Receiver) -> None:
    webhook = add(house, receiver, "soon gone")
    receiver.behaviour = status(410)
    change_a_model(house)
    until(lambda: house.call("admin", "GET", f"/webhooks/{webhook}")["status"] == "failed")
    page = signed_in("max", "/lockgate/webhooks")
    card = page.locator("section").filter(has_text="soon gone")
    expect(card).to_contain_text("It answered 410 Gone: it wants to be told nothing any more.")
    card.get_by_role("link", name="soon gone").click()
    page.get_by_role("row").nth(1).get_by_role("link").click()
    expect(page.get_by_text("Its webhook is failed, so nothing is delivered to it.")).to_be_visible()
    expect(page.get_by_role("button", name="Deliver again")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_that_people_wrote_runs_and_the_pages_fit_a_phone(
    house: House, signed_in: SignedIn, receiver: Receiver, scheme: str
) -> None:
    webhook = add(house, receiver, ATTACK, url=f"{receiver.url}/<script>alert(1)</script>?\"onmouseover=alert(1)'")
    model = change_a_model(house, f"<img src=x onerror=alert('{scheme}')>\"'")
    [told] = until(lambda: [one for one in delivered(house, webhook) if one["attempts"]])
    page = signed_in("max", "/lockgate/requests", viewport=PHONE, color_scheme=scheme)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    for path, shown in (
        ("webhooks", ATTACK),
        (f"deliveries?webhook_id={webhook}", model),
        (f"deliveries/{told['id']}", ATTACK),
    ):
        page.goto(f"{house.uri}/lockgate/{path}")
        expect(page.locator("main")).to_contain_text(shown)
        assert page.locator("main img, main script").count() == 0, path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert all_in_sight(page), path
        dark = page.evaluate("getComputedStyle(document.body).color.match(/\\d+/g).every(part => part > 128)")
        assert dark is (scheme == "dark"), path
    assert wrong == []


def delivered(house: House, webhook: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = house.call("admin", "GET", f"/deliveries?webhook_id={webhook}")["deliveries"]
    return found


def all_in_sight(page: Page) -> bool:
    found: bool = page.evaluate(
        "[...document.querySelectorAll('header a, td, dd, button, pre')]"
        ".every(one => one.getBoundingClientRect().right <= innerWidth)"
    )
    return found
