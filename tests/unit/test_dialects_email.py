"""E-mail: what it says, to whom it may go, and where the operator's relay is."""

from contextlib import nullcontext
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as AS_SENT

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.delivery.relay import Relay, check_mail, message
from lockgate.errors import BadInput
from lockgate.events.dialect import Endpoint, Mail, Told
from lockgate.events.dialects.email import Email
from lockgate.events.event import EventType
from tests.told import AT, ATTEMPT, PROMOTION, told

SENDER = "Lockgate <lockgate@example.com>"
TO = Endpoint("hook-1", "mailto:team@example.com,lead@example.com")


def mail(event: Told) -> Mail:
    return Email().call(event, event.type, TO, ATTEMPT)


def sent(event: Told) -> EmailMessage:
    """Return a message as whoever gets it reads it, headers and body."""
    return message_from_bytes(message(mail(event), SENDER).as_bytes(), _class=EmailMessage, policy=AS_SENT)


def test_a_message_says_what_happened_and_where_to_look() -> None:
    got = sent(PROMOTION)
    assert got["From"] == SENDER
    assert got["To"] == "team@example.com, lead@example.com"
    assert got["Subject"] == "[Lockgate] Promotion: version 3 of 'fraud' -> stage:Production"
    assert got["Message-ID"] == f"<{ATTEMPT.message_id}@example.com>"
    assert got["Auto-Submitted"] == "auto-generated"
    assert got["Date"].datetime == AT.replace(microsecond=0)
    assert got.get_content_type() == "text/plain"
    text = got.get_content().replace("\r\n", "\n")
    for part in ("By: bot", "Version: 2 → 3", "better on all counts", "https://gate.example.com/lockgate/requests/7\n"):
        assert part in text


def test_gates_are_shown_at_a_glance() -> None:
    after = {"gates": [{"name": "auc", "outcome": "failed"}, {"name": "soaked", "outcome": "passed"}]}
    text = mail(told(EventType.GATE_FAILED, version=3, target="alias:a", request_id=7, after=after)).text
    assert "✗ failed: auc\n✓ passed: soaked" in text


@given(st.text(max_size=100), st.text(max_size=100))
def test_what_people_wrote_adds_no_header_and_no_recipient(model: str, reason: str) -> None:
    got = sent(told(EventType.REQUEST_OPENED, model=model, version=1, target="alias:a", request_id=1, reason=reason))
    plain = sent(PROMOTION)
    assert sorted(got.keys()) == sorted(plain.keys())
    assert got["To"] == plain["To"]


def test_a_name_that_would_be_a_header_is_none() -> None:
    got = sent(told(model="x\r\nBcc: evil@example.com\r\n\r\nbody", version=3))
    assert got["Bcc"] is None
    assert "Bcc: evil@example.com" in got["Subject"]


def test_half_a_sign_does_not_keep_it_from_being_sent() -> None:
    assert "fraud" in sent(told(model="fraud\ud800", version=3, reason="\udfff"))["Subject"]


@pytest.mark.parametrize("event", EventType)
def test_each_event_is_a_message_of_short_lines(event: EventType) -> None:
    after = {"unmet": ["x" * 300] * 20, "gates": [{"name": "y" * 300, "outcome": "failed"}] * 50}
    full = told(event, model="m" * 256, version=1, target="alias:a", request_id=1, after=after, reason="z" * 10_000)
    content = message(mail(full), SENDER).as_bytes()
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert len(content) < 20_000


@pytest.mark.parametrize(
    "url",
    [
        "mailto:",
        "mailto:team",
        "mailto:@example.com",
        "mailto:a@example.com,",
        "mailto:a@example.com?bcc=evil@example.com",
        "mailto:a@example.com%0d%0aRCPT",
        "mailto:a@example.com\r\nRCPT TO:<b@example.com>",
        "mailto:<a@example.com>",
        "mailto:-oQ/tmp@example.com",
        'mailto:"a b"@example.com',
        "mailto:ä@example.com",
        "mailto:a@exa mple.com",
        "mailto:a@example..com",
        "mailto:" + ",".join(f"a{number}@example.com" for number in range(21)),
        "mailto:" + "a" * 300 + "@example.com",
        "https://example.com",
        "MAILTO:a@example.com",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="commas between them"):
        Email().check(Endpoint("hook-1", url))


@pytest.mark.parametrize("url", [TO.url, "mailto:ml+gate@example.com", "mailto:root@localhost", "mailto:a.b@x-y.co.uk"])
def test_addresses_are_taken(url: str) -> None:
    Email().check(Endpoint("hook-1", url))


def environment(url: str, sender: str = SENDER, **more: str) -> dict[str, str]:
    return {"LOCKGATE_SMTP_URL": url, "LOCKGATE_SMTP_FROM": sender, **more}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example.com", Relay("mail.example.com", 587, SENDER, "starttls")),
        ("smtp://mail.example.com:25/", Relay("mail.example.com", 25, SENDER, "starttls")),
        ("smtps://mail.example.com", Relay("mail.example.com", 465, SENDER, "start")),
        ("smtp://bot:p%40ss%3A@mail.example.com", Relay("mail.example.com", 587, SENDER, "starttls", "bot", "p@ss:")),
    ],
)
def test_where_the_relay_is(url: str, expected: Relay) -> None:
    assert Relay.read(environment(url)) == expected


def test_only_hosts_that_are_listed_are_spoken_to_without_tls() -> None:
    listed = {"LOCKGATE_WEBHOOK_ALLOW_HOSTS": "localhost"}
    found = Relay.read(environment("smtp://localhost", **listed, LOCKGATE_WEBHOOK_ALLOW_HTTP="true"))
    assert found is not None
    assert found.tls == "none"
    for fewer in (listed, {"LOCKGATE_WEBHOOK_ALLOW_HTTP": "true"}, {}):
        found = Relay.read(environment("smtp://localhost", **fewer))
        assert found is not None
        assert found.tls == "starttls"


@pytest.mark.parametrize(
    "url",
    ["", "mail.example.com", "http://mail.example.com", "smtp://", "smtp://u:hunter2@m/x", "smtp://u:hunter2@m:x",
     "smtp://u:hunter2@m?tls=no", "smtp://u:hunter2@[m"],
)  # fmt: skip
def test_what_is_no_relay_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(BadInput, match="LOCKGATE_SMTP_URL") as refused:
        Relay.read(environment(url))
    assert "hunter2" not in refused.value.message


@pytest.mark.parametrize("sender", ["", "lockgate", "a@b, c@d", "a@b\r\nBcc: c@d", "Lockgate <>"])
def test_who_it_is_from_has_to_be_said(sender: str) -> None:
    with pytest.raises(BadInput, match="LOCKGATE_SMTP_FROM"):
        Relay.read(environment("smtp://mail.example.com", sender))


def test_a_password_is_not_shown_with_the_relay() -> None:
    assert "hunter2" not in repr(Relay.read(environment("smtp://u:hunter2@mail.example.com")))


def test_where_there_is_none_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCKGATE_SMTP_URL", raising=False)
    monkeypatch.delenv("LOCKGATE_SMTP_FROM", raising=False)
    assert Relay.read({}) is None
    with pytest.raises(BadInput, match="LOCKGATE_SMTP_FROM"):
        check_mail(("team@example.com",))


@pytest.mark.parametrize(
    ("domains", "to", "taken"),
    [
        ("", ["a@anywhere.example"], True),
        (" ", ["a@anywhere.example"], True),
        ("example.com", ["a@example.com", "b@Example.COM"], True),
        (" Example.com , example.org", ["a@example.com", "b@example.org"], True),
        ("example.com", ["a@example.com", "b@example.org"], False),
        # Below a domain somebody else may be at home.
        ("example.com", ["a@sub.example.com"], False),
        ("example.com", ["a@notexample.com"], False),
        ("example.com", ["a@example.com.evil.example"], False),
    ],
)
def test_recipients_are_where_the_operator_allows(
    monkeypatch: pytest.MonkeyPatch, domains: str, to: list[str], taken: bool
) -> None:
    for name, value in environment("smtp://mail.example.com", LOCKGATE_SMTP_DOMAINS=domains).items():
        monkeypatch.setenv(name, value)
    with nullcontext() if taken else pytest.raises(BadInput, match=r"at example\.com only"):
        check_mail(to)


@pytest.mark.parametrize("domains", ["*", "*.example.com", "@example.com", "example.com,", ".example.com", "a b"])
def test_what_is_no_domain_is_refused(domains: str) -> None:
    with pytest.raises(BadInput, match="LOCKGATE_SMTP_DOMAINS"):
        Relay.read(environment("smtp://mail.example.com", LOCKGATE_SMTP_DOMAINS=domains))
