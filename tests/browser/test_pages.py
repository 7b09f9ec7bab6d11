"""Our own pages in a real browser: with the keyboard alone, on a phone, in the dark."""

import re
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import SignedIn
from tests.certificates import certificate
from tests.house import ONE_APPROVAL, House

PHONE = {"width": 360, "height": 800}


def test_signing_in_with_the_keyboard_alone(house: House, window: Callable[..., BrowserContext]) -> None:
    page = window().new_page()
    page.goto(f"{house.uri}/lockgate/requests")
    expect(page.get_by_label("Your token")).to_be_focused()
    page.keyboard.type("lockgate_this_is_no_token")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The token is not valid (any more).")
    assert "lockgate_session" not in {cookie["name"] for cookie in page.context.cookies()}

    expect(page.get_by_label("Your token")).to_be_focused()
    page.keyboard.type(house.tokens["vic"])
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Sign in").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Promotion requests")).to_be_visible()

    page.get_by_role("button", name="Sign out").press("Enter")
    expect(page.get_by_label("Your token")).to_be_visible()
    page.goto(f"{house.uri}/lockgate/requests")
    expect(page.get_by_label("Your token")).to_be_visible()


def test_a_browser_keeps_a_session_that_only_this_host_can_set(
    new_database: Callable[[str], str], tmp_path: Path, window: Callable[..., BrowserContext]
) -> None:
    certfile, keyfile = certificate(tmp_path / "tls")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SSL_CERT_FILE", certfile)
        house = House(tmp_path, new_database("sqlite"), "--ssl-certfile", certfile, "--ssl-keyfile", keyfile)
        try:
            house.server.start()
            context = window(ignore_https_errors=True)
            # What somebody on the way, or a sibling site, can plant has another name.
            context.add_cookies([{"name": "lockgate_session", "value": "planted", "url": house.uri}])
            page = context.new_page()
            page.goto(f"{house.uri}/lockgate/requests")
            page.get_by_label("Your token").fill(house.tokens["admin"])
            page.keyboard.press("Enter")
            expect(page.get_by_role("heading", name="Promotion requests")).to_be_visible()
            kept = {cookie["name"] for cookie in context.cookies()}
            assert kept == {"lockgate_session", "__Host-lockgate_session", "__Host-lockgate_form"}
            page.get_by_role("button", name="Sign out").click()
            expect(page.get_by_label("Your token")).to_be_visible()
            assert "__Host-lockgate_session" not in {cookie["name"] for cookie in context.cookies()}
        finally:
            house.close()


@pytest.mark.parametrize("options", [{}, {"viewport": PHONE}], ids=["desk", "phone"])
def test_who_has_no_role_yet_is_told_what_to_do_and_can_leave(
    house: House, signed_in: SignedIn, options: dict[str, object]
) -> None:
    name = f"newcomer-{secrets.token_hex(4)}"
    house.call("admin", "POST", "/principals", {"name": name, "roles": []}, 201)
    house.tokens[name] = house.call("admin", "POST", "/tokens", {"principal": name})["token"]
    page = signed_in(name, "/#/models", **options)
    expect(page.get_by_role("heading", name="You have no role yet")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.get_by_role("link", name="MLflow")).to_have_count(0)
    page.get_by_role("link", name="Try again").click()
    expect(page.get_by_text(f"lockgate users add {name} --role viewer")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Your token")).to_be_visible()

    page = signed_in(name, "/lockgate/requests", **options)
    house.call("admin", "PATCH", f"/principals/{name}", {"roles": ["viewer"]})
    page.get_by_role("link", name="Try again").click()
    expect(page.get_by_role("heading", name="Promotion requests")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone(house: House, signed_in: SignedIn, scheme: str) -> None:
    asked = house.ask(
        house.new_model("a-model-with-a-rather-long-name" + scheme + house.backend[:6]), "1", "alias:champion"
    )
    page = signed_in("sue", f"/lockgate/requests/{asked['id']}", viewport=PHONE, color_scheme=scheme)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    for path in (f"requests/{asked['id']}", "requests", "requests/999999999", "sign-in"):
        page.goto(f"{house.uri}/lockgate/{path}")
        expect(page.get_by_role("heading").first).to_be_visible()
        widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert widths[0] <= widths[1], path
        dark = page.evaluate("getComputedStyle(document.body).color.match(/\\d+/g).every(part => part > 128)")
        assert dark is (scheme == "dark"), path
    # No column of the list is out of sight.
    page.goto(f"{house.uri}/lockgate/requests")
    assert page.evaluate(
        "[...document.querySelectorAll('td')].every(one => one.getBoundingClientRect().right <= innerWidth)"
    )
    # Nothing that the pages load is refused by their own content security policy.
    assert not [text for text in wrong if "Content Security Policy" in text]


def test_a_request_shows_what_is_missing_and_what_was_decided(house: House, signed_in: SignedIn) -> None:
    asked = house.ask(house.new_model(), "1", "alias:champion")
    page = signed_in("sue", f"/lockgate/requests/{asked['id']}")
    expect(page.get_by_text("1 more approval")).to_be_visible()
    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {"comment": "<b>fine</b>"})
    page.reload()
    expect(page.get_by_text("Nothing is missing")).to_be_visible()
    expect(page.get_by_text("<b>fine</b>")).to_be_visible()


def test_a_models_history_answers_what_served_when_and_who_approved_it(house: House, signed_in: SignedIn) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model(versions=2)
    for version in ("1", "2"):
        done = house.promote(model, version, "alias:champion")
    first, _ = house.call("vic", "GET", f"/models/{model}/history")["history"]
    page = signed_in("vic", f"/lockgate/requests/{done['id']}")
    page.get_by_role("link", name="history").click()
    expect(page.get_by_role("row")).to_have_count(3)
    page.get_by_label("At this time").fill(first["from"][:19])
    page.keyboard.press("Enter")
    expect(page.get_by_text("alias:champion held no version at")).to_be_visible()  # a moment too early
    page.goto(f"{house.uri}/lockgate/models/{model}/history?at={first['from']}")
    served = page.get_by_role("row").nth(1)
    expect(served).to_contain_text("alias:champion1")
    expect(served).to_contain_text("promotion (decision")
    expect(served.get_by_role("link")).to_have_attribute("href", re.compile("/lockgate/requests/[0-9]+$"))
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
