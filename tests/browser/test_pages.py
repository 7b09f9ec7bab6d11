"""Our own pages in a real browser: with the keyboard alone, on a phone, in the dark."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import SignedIn
from tests.house import House

PHONE = {"width": 360, "height": 800}


def test_signing_in_with_the_keyboard_alone(house: House, window: Callable[..., BrowserContext]) -> None:
    page = window().new_page()
    page.goto(f"{house.uri}/lockgate/requests")
    expect(page.get_by_label("Your token")).to_be_focused()
    page.keyboard.type("lockgate_this_is_no_token")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The token is not valid (any more).")
    assert "lockgate_session" not in {cookie["name"] for cookie in page.context.cookies()}

    page.keyboard.type(house.tokens["vic"])
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Sign in")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Promotion requests")).to_be_visible()

    page.get_by_role("button", name="Sign out").press("Enter")
    expect(page.get_by_label("Your token")).to_be_visible()
    page.goto(f"{house.uri}/lockgate/requests")
    expect(page.get_by_label("Your token")).to_be_visible()


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
