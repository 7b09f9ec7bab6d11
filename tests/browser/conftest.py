"""A real Chromium, as somebody who signed in."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.house import House

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: MLflow's UI is large, and the machine may be busy.
PATIENCE = 60_000

SignedIn = Callable[..., Page]


# No longer than for the tests here: while it runs, this thread has an event loop, and others want one of their own.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail("There is no Chromium here. `make browser` installs it (Debian: apt-get install chromium).")
    # Chromium's own sandbox does not work for root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture
def window(chromium: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Open windows that share nothing; takes what playwright's `new_context` takes."""
    opened: list[BrowserContext] = []

    def open_window(**options: Any) -> BrowserContext:
        context = chromium.new_context(**{"viewport": {"width": 1600, "height": 900}, **options})
        context.set_default_timeout(PATIENCE)
        opened.append(context)
        return context

    yield open_window
    for context in opened:
        context.close()


@pytest.fixture
def signed_in(house: House, window: Callable[..., BrowserContext]) -> SignedIn:
    """Sign in as somebody, on the way to a page."""

    def sign_in(who: str, path: str, **options: Any) -> Page:
        page = window(**options).new_page()
        page.goto(house.uri + path)
        page.get_by_label("Your token").fill(house.tokens[who])
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "sign-in" not in url)
        return page

    return sign_in
