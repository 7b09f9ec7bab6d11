"""What people are shown of a webhook's URL, and of a call's headers."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.workflow.drawn import _headers
from lockgate.workflow.shown import address, has_secret_url

_PARTS = st.lists(st.text("abcXYZ019_-", min_size=4, max_size=8), max_size=5)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.slack.com/services/T0/B0/xyzzy", "https://hooks.slack.com/services/..."),
        ("https://x.logic.azure.com:443/workflows/1/run?sig=xyzzy", "https://x.logic.azure.com:443/workflows/..."),
        # The first part may be all there is of the secret.
        ("https://chat.example.com/xyzzy", "https://chat.example.com/..."),
        ("https://chat.example.com/xyzzy/", "https://chat.example.com/..."),
        ("https://chat.example.com?key=xyzzy", "https://chat.example.com/..."),
        ("https://me:xyzzy@chat.example.com/a/b#xyzzy", "https://chat.example.com/a/..."),
        ("https://[2600::1]/a/b", "https://[2600::1]/a/..."),
    ],
)
def test_of_a_chats_url_the_host_is_shown_and_what_others_have_in_common(url: str, shown: str) -> None:
    assert address("slack", url) == address("teams", url) == shown


@given(_PARTS, st.text("abc=&19", max_size=8))
def test_nothing_behind_the_first_part_is_shown(parts: list[str], query: str) -> None:
    shown = address("slack", f"https://h/{'/'.join(parts)}?{query}")
    kept = urlsplit(shown).path.strip("/").split("/")
    assert kept in (["..."], [*parts[:1], "..."])


def test_other_urls_are_shown_and_those_of_what_nobody_knows_are_not() -> None:
    url = "https://ci.example.com/hook/lockgate?team=1"
    assert address("standard", url) == address("databricks", url) == address("mlflow", url) == url
    assert address("a-template-that-is-gone", url) == "https://ci.example.com/hook/..."
    assert has_secret_url("slack")
    assert not has_secret_url("gitlab")


def test_headers_that_depend_on_a_secret_are_dots() -> None:
    once = {"webhook-id": "msg_1", "X-Signature": "a", "authorization": "Basic bWU6Li4u", "Authorization": "token"}
    again = {"webhook-id": "msg_1", "X-Signature": "b", "authorization": "Basic bWU6Li4u", "Authorization": "token"}
    assert _headers(once, again) == {
        "webhook-id": "msg_1",
        "X-Signature": "...",
        "authorization": "Basic ...",
        "Authorization": "...",
    }
    # Also one that is only there once.
    assert _headers({"X-Signature": "a"}, {}) == {"X-Signature": "..."}
