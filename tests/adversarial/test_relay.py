"""Giving e-mail to a relay, whatever the relay does."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from lockgate.delivery.addresses import Allowed
from lockgate.delivery.answer import Answer, Failure
from lockgate.delivery.relay import Relay
from lockgate.delivery.schedule import Next, step
from lockgate.delivery.sender import Sender
from lockgate.events.dialect import Mail
from tests import relays
from tests.house import free_port
from tests.receivers import Receiver, hang, malformed
from tests.told import AT

MAIL = Mail(("a@example.com", "b@example.com"), "Promotion of 'frâud'", "Hello.\n.\n", "msg_1", AT)
SENDER = "Lockgate <lockgate@example.com>"
LOGIN = ("bot", "p@ss:")
#: A relay that takes passwords without TLS is what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")


def give(
    port: int,
    tls: str = "none",
    user: str = "",
    password: str = "",
    deadline: float = 10,
    domains: tuple[str, ...] = (),
) -> Answer:
    relay = Relay("127.0.0.1", port, SENDER, tls, user, password, domains)

    async def send() -> Answer:
        sender = Sender(Allowed(), deadline, relay)
        try:
            return await sender.send(MAIL)
        finally:
            await sender.close()

    return asyncio.run(send())


def test_a_message_arrives_at_all_whom_it_is_for() -> None:
    with relays.Relay() as relay:
        answer = give(relay.port)
    assert (answer.status, answer.error, answer.is_success, answer.body) == (250, "", True, b"")
    (message,), (envelope,) = relay.messages, relay.envelopes
    assert envelope.rcpt_tos == ["a@example.com", "b@example.com"]
    assert envelope.mail_from == "lockgate@example.com"
    assert message["Subject"] == MAIL.subject
    assert message["Message-ID"] == "<msg_1@example.com>"
    assert message.get_content().replace("\r\n", "\n") == MAIL.text


def test_nothing_goes_where_the_operator_does_not_allow_it_any_more() -> None:
    """Who was added before may be elsewhere."""
    with relays.Relay() as relay:
        assert give(relay.port, domains=("example.org",)).error == Failure.NOT_FOR_THEM
        assert relay.sessions == []
        assert give(relay.port, domains=("example.com",)).is_success


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_password_goes_only_by_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_the_start: bool) -> None:
    with relays.Relay(tmp_path, from_the_start, LOGIN) as relay:
        monkeypatch.setenv("SSL_CERT_FILE", relay.ca)
        tls = "start" if from_the_start else "starttls"
        assert give(relay.port, tls, *LOGIN).status == 250
        assert give(relay.port, tls, "bot", "wrong").status == 535
        assert give(relay.port, tls).status == 530
    assert len(relay.messages) == 1
    assert relay.sessions[0].ssl is not None or from_the_start


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_relay_whose_certificate_is_not_trusted_gets_nothing(tmp_path: Path, from_the_start: bool) -> None:
    with relays.Relay(tmp_path, from_the_start, LOGIN) as relay:
        answer = give(relay.port, "start" if from_the_start else "starttls", *LOGIN)
    assert (answer.status, answer.error) == (None, Failure.NO_TLS)
    assert relay.messages == []


def test_a_relay_that_offers_no_tls_gets_neither_the_password_nor_the_message() -> None:
    """Who stands in between could have struck the offer out."""
    with relays.Relay(login=LOGIN) as relay:
        answer = give(relay.port, "starttls", *LOGIN)
    assert (answer.status, answer.error) == (None, Failure.NO_TLS)
    assert relay.messages == []


@pytest.mark.parametrize("code", [421, 450, 550, 554])
def test_what_a_relay_refuses_is_tried_again_by_the_schedule_and_not_repeated(code: int) -> None:
    with relays.Relay() as relay:
        relay.at_end = f"{code} secret of the relay"
        answer = give(relay.port)
    assert answer == Answer(code, "", None, answer.milliseconds, b"")
    assert not answer.is_success
    assert step(answer, 1).next is Next.AGAIN


@pytest.mark.parametrize("code", [450, 550])
def test_one_whom_it_refuses_keeps_it_from_all_so_that_nobody_has_it_again_and_again(code: int) -> None:
    with relays.Relay() as relay:
        relay.to_recipient = lambda address: f"{code} no" if address.startswith("b@") else relays.ACCEPTED
        assert give(relay.port).status == code
    assert relay.messages == []


def test_nobody_there() -> None:
    answer = give(free_port())
    assert (answer.status, answer.error) == (None, Failure.NOT_CONNECTED)


def test_without_a_relay_it_says_what_to_set() -> None:
    async def send() -> Answer:
        sender = Sender(Allowed())
        try:
            return await sender.send(MAIL)
        finally:
            await sender.close()

    assert asyncio.run(send()).error == Failure.NO_RELAY


@pytest.mark.parametrize(
    ("behaviour", "failures"),
    [
        (hang, {Failure.TIMED_OUT}),
        (malformed(b"HTTP/1.1 200 OK\r\n\r\n"), {Failure.MALFORMED, Failure.NOT_CONNECTED, Failure.TIMED_OUT}),
        (malformed(b"220 hello\r\n\xff\xff\r\n"), {Failure.MALFORMED, Failure.TIMED_OUT}),
    ],
)
def test_what_is_no_relay_is_left_in_time(behaviour: Callable[..., None], failures: set[Failure]) -> None:
    with Receiver(behaviour) as receiver:
        answer = give(receiver.port, deadline=1)
    assert answer.status is None
    assert answer.error in {str(one) for one in failures}
    assert answer.milliseconds < 5_000
