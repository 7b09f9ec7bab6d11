"""Receivers that do what receivers do, and names that lead where they must not: a call ends, and says why."""

import asyncio
import errno
import gzip
import logging
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockgate import __version__
from lockgate.delivery.addresses import ALLOW_HOSTS, ALLOW_HTTP, Allowed
from lockgate.delivery.answer import Answer, Failure
from lockgate.delivery.sender import DEADLINE_SECONDS, MOST_BYTES, Sender
from lockgate.events.dialect import Call
from tests import receivers
from tests.receivers import Behaviour, Receiver

LOOPBACK = Allowed.read({ALLOW_HOSTS: "127.0.0.0/8,::1,localhost", ALLOW_HTTP: "true"})
NOTHING = Allowed()
BODY = b'{"type": "promotion.promoted"}'
PUBLIC = "8.8.8.8"


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a wall falls, names that lead to public addresses would be followed."""
    connect = socket.socket.connect

    def guarded(one: socket.socket, address: Any) -> None:
        if one.family in (socket.AF_INET, socket.AF_INET6):
            found = ip_address(address[0].partition("%")[0])
            if not (getattr(found, "ipv4_mapped", None) or found).is_loopback:
                raise OSError(errno.ENETUNREACH, "tests stay on this machine")
        connect(one, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as opened:
        yield opened


@pytest.fixture
def by_tls(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(folder=tmp_path / "tls") as opened:
        yield opened


def call(url: str, **headers: str) -> Call:
    return Call(url, BODY, {"Content-Type": "application/json", **headers})


def sent(
    *calls: Call, allowed: Allowed = LOOPBACK, deadline: float = 20.0, verify_certificate: bool = True
) -> list[Answer]:
    """Send calls, at the same time, with a sender of their own."""

    async def send() -> list[Answer]:
        sender = Sender(allowed, deadline)
        try:
            return await asyncio.gather(*(sender.send(one, verify_certificate) for one in calls))
        finally:
            await sender.close()

    return asyncio.run(send())


def answered(receiver: Receiver, behaviour: Behaviour, deadline: float = 20.0) -> Answer:
    receiver.behaviour = behaviour
    (answer,) = sent(call(receiver.url), deadline=deadline)
    # Whatever it was, the next call is not affected.
    receiver.behaviour = receivers.ok
    (after,) = sent(call(receiver.url))
    assert after.is_success
    return answer


class Resolver:
    """Answers what names lead to, each time the next of its answers: that can't be done for real here."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host.decode() if isinstance(host, bytes) else host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not answer:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port or 0, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port or 0))
            for address in answer
        ]


def test_a_call_arrives_as_it_is(receiver: Receiver) -> None:
    (answer,) = sent(call(f"{receiver.url}?for=models", **{"webhook-id": "msg_1", "User-Agent": "x"}))
    assert answer.is_success
    assert (answer.status, answer.error, answer.retry_after, answer.body) == (200, "", None, b"ok")
    (request,) = receiver.requests
    assert (request.method, request.target, request.body) == ("POST", "/hook?for=models", BODY)
    assert request.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
        "webhook-id": "msg_1",
        "user-agent": f"Lockgate/{__version__}",
        "accept-encoding": "identity",
        "connection": "close",
    }


@pytest.mark.parametrize("code", [199, 300, 302, 307, 400, 404, 410, 429, 500, 503, 999])
def test_whatever_is_not_2xx_is_a_failure(receiver: Receiver, code: int) -> None:
    if code == 199:
        # A word before the answer, and then none.
        answer = answered(receiver, receivers.malformed(b"HTTP/1.1 199 Wait\r\n\r\n"))
        assert (answer.status, answer.error) == (None, Failure.MALFORMED)
        return
    answer = answered(receiver, receivers.status(code))
    assert (answer.status, answer.error, answer.is_success) == (code, "", False)


def test_nobody_is_followed(receiver: Receiver) -> None:
    with Receiver() as elsewhere:
        for code in (301, 302, 303, 307, 308):
            answer = answered(receiver, receivers.redirect(elsewhere.url, code))
            assert (answer.status, answer.is_success) == (code, False)
        assert not elsewhere.visits


def test_another_protocol_is_not_spoken(receiver: Receiver) -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
    assert not answered(receiver, receivers.malformed(switching)).is_success


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0), ("soon", None), ("\xff", None)]
)
def test_when_to_call_again_is_read(receiver: Receiver, header: str, seconds: float | None) -> None:
    assert answered(receiver, receivers.status(503, retry_after=header)).retry_after == seconds


def test_nothing_is_kept_between_calls(receiver: Receiver) -> None:
    async def twice() -> None:
        sender = Sender(LOOPBACK)
        for _ in range(2):
            assert (await sender.send(call(receiver.url))).is_success
        await sender.close()

    receiver.behaviour = receivers.status(200, set_cookie="session=1; Path=/")
    asyncio.run(twice())
    assert len(receiver.visits) == len(receiver.requests) == 2
    assert not any("cookie" in request.headers for request in receiver.requests)


def test_who_is_slow_is_waited_for(receiver: Receiver) -> None:
    assert answered(receiver, receivers.slow(1.0)).is_success
    # What Standard Webhooks asks for.
    assert DEADLINE_SECONDS == 30


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        (receivers.hang, None),
        (receivers.listen, None),
        (receivers.endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", every=0.05), None),
        (receivers.endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), None),
        (receivers.endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x", every=0.05), 200),
        (receivers.endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", every=0.05), 200),
    ],
    ids=["silent", "after all was read", "header by header", "never gets to it", "byte by byte", "chunk by chunk"],
)
def test_who_does_not_come_to_an_end_is_left(receiver: Receiver, behaviour: Behaviour, status: int | None) -> None:
    answer = answered(receiver, behaviour, deadline=1.0)
    assert (answer.status, answer.error, answer.is_success) == (status, Failure.TIMED_OUT, False)


@pytest.mark.parametrize(
    "behaviour",
    [
        receivers.endless_body,
        receivers.endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000),
        receivers.status(200, b"x" * 10_000_000),
    ],
    ids=["without a length", "in chunks", "with a length"],
)
def test_of_a_long_answer_the_beginning_is_read(receiver: Receiver, behaviour: Behaviour) -> None:
    answer = answered(receiver, behaviour)
    assert (answer.status, answer.error, answer.body) == (200, "", b"x" * MOST_BYTES)


def test_what_is_compressed_is_left_so(receiver: Receiver) -> None:
    bomb = gzip.compress(bytes(30_000_000))
    answer = answered(receiver, receivers.status(200, bomb, content_encoding="gzip"))
    assert answer.body == bomb[:MOST_BYTES]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n",
        b"What do you want?\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: no\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,
        b"x" * 1_000_000,
    ],
)
def test_what_is_not_an_answer_is_none(receiver: Receiver, content: bytes) -> None:
    answer = answered(receiver, receivers.malformed(content))
    assert (answer.error, answer.is_success) in [(Failure.MALFORMED, False), (Failure.BROKEN, False)]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        [b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
    ),
    st.lists(
        st.binary() | st.sampled_from([b"\r\n", b"\r\n\r\n", b": ", b"Retry-After: ", b"Set-Cookie: ", b"5", b"0"])
    ),
)
def test_no_answer_harms(receiver: Receiver, first: bytes, more: list[bytes]) -> None:
    receiver.behaviour = receivers.malformed(first + b"".join(more))
    (answer,) = sent(call(receiver.url))
    assert answer.error in {"", *Failure}


def test_a_connection_that_breaks(receiver: Receiver) -> None:
    assert answered(receiver, receivers.reset).error == Failure.BROKEN

    def break_in_the_middle(visit: receivers.Visit) -> None:
        visit.take()
        visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
        visit.wait(0.2)
        visit.reset()

    broken = answered(receiver, break_in_the_middle)
    assert (broken.status, broken.error, broken.is_success) == (200, Failure.BROKEN, False)


def test_a_connection_that_is_gone_when_it_is_looked_at(receiver: Receiver) -> None:
    receiver.behaviour = lambda visit: visit.reset()
    for url in (receiver.url, receiver.url.replace("http:", "https:")):
        # What of it is gone at which step is chance: so many that each comes up.
        failures = {answer.error for answer in sent(*[call(url)] * 300)}
        assert failures <= {Failure.NOT_CONNECTED, Failure.NO_TLS, Failure.BROKEN, Failure.MALFORMED}


def test_nobody_there(receiver: Receiver) -> None:
    receiver.__exit__(None, None, None)
    (answer,) = sent(call(receiver.url))
    assert (answer.status, answer.error, answer.body) == (None, Failure.NOT_CONNECTED, b"")


def test_those_that_hang_keep_nobody_waiting(receiver: Receiver) -> None:
    receiver.behaviour = receivers.hang
    with Receiver() as quick:
        *hung, answer = sent(*[call(receiver.url)] * 120, call(quick.url), deadline=3.0)
    assert {one.error for one in hung} == {Failure.TIMED_OUT}
    assert answer.is_success


def test_a_name_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Resolver([]))
    (answer,) = sent(call("https://ci.example.com/"))
    assert answer.error == Failure.UNKNOWN_HOST


def test_a_name_that_nobody_answers_for(monkeypatch: pytest.MonkeyPatch) -> None:
    enough = threading.Event()
    threading.Timer(1.5, enough.set).start()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: enough.wait() and [])
    (answer,) = sent(call("https://ci.example.com/"), deadline=0.5)
    assert answer.error == Failure.TIMED_OUT


@pytest.mark.parametrize("header", ["a\r\nX: b", "a\nb", "a\x00", "ü", " a", "a\x7f"])
def test_a_header_that_is_none_is_not_sent(receiver: Receiver, header: str) -> None:
    answers = sent(call(receiver.url, X=header), call(receiver.url, **{f"X{header}": "a"}))
    assert [answer.error for answer in answers] == [Failure.UNSENDABLE] * 2
    assert not receiver.visits


# TLS.


def test_a_receiver_shows_who_it_is(by_tls: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (unknown,) = sent(call(by_tls.url))
    assert (unknown.status, unknown.error) == (None, Failure.NO_TLS)
    (unasked,) = sent(call(by_tls.url), verify_certificate=False)
    assert unasked.is_success
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls/certificate.pem"))
    (known,) = sent(call(by_tls.url))
    assert known.is_success
    (another,) = sent(call(by_tls.url.replace("127.0.0.1", "localhost")))
    assert another.error == Failure.NO_TLS
    assert len(by_tls.requests) == 2


def test_a_receiver_that_wants_a_certificate_of_ours(tmp_path: Path) -> None:
    with Receiver(folder=tmp_path, asks_for_certificate=True) as receiver:
        (answer,) = sent(call(receiver.url), verify_certificate=False)
    # It says so and closes: what is first seen of that, is chance.
    assert answer.error in (Failure.NO_TLS, Failure.BROKEN)
    assert not receiver.requests


@pytest.mark.parametrize(
    ("behaviour", "failures"),
    [
        (lambda visit: visit.say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), [Failure.NO_TLS]),
        (lambda visit: visit.reset(), [Failure.NO_TLS, Failure.NOT_CONNECTED]),
        (receivers.listen, [Failure.TIMED_OUT]),
    ],
    ids=["answers", "resets", "is silent"],
)
def test_a_receiver_without_tls(receiver: Receiver, behaviour: Behaviour, failures: list[Failure]) -> None:
    receiver.behaviour = behaviour
    (answer,) = sent(call(receiver.url.replace("http:", "https:")), deadline=1.0)
    assert answer.error in failures
    # And whoever leaves us hanging in the handshake is hung up on.
    assert receiver.heard()


def test_a_receiver_that_forgets_tls(by_tls: Receiver) -> None:
    def plainly(visit: receivers.Visit) -> None:
        visit.take()
        with socket.socket(fileno=visit.connection.detach()) as bare:
            bare.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    by_tls.behaviour = plainly
    (answer,) = sent(call(by_tls.url), verify_certificate=False)
    assert answer.error == Failure.NO_TLS


@pytest.mark.parametrize("behaviour", [receivers.hang, receivers.reset, receivers.endless_body])
def test_the_same_by_tls(by_tls: Receiver, behaviour: Behaviour) -> None:
    by_tls.behaviour = behaviour
    (answer,) = sent(call(by_tls.url), deadline=1.0, verify_certificate=False)
    assert (answer.error, len(answer.body)) in [(Failure.TIMED_OUT, 0), (Failure.BROKEN, 0), ("", MOST_BYTES)]


# Where a call may go.


def test_the_machine_itself_is_not_called(by_tls: Receiver) -> None:
    (answer,) = sent(call(by_tls.url.replace("127.0.0.1", "localhost")), allowed=NOTHING, verify_certificate=False)
    assert (answer.status, answer.error) == (None, Failure.REFUSED)
    assert not by_tls.visits


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "0177.1", "[::ffff:127.0.0.1]", "[::1]", "0", "u:p@localhost"],
)
def test_nor_in_any_spelling(by_tls: Receiver, host: str) -> None:
    (answer,) = sent(call(f"https://{host}:{by_tls.port}/hook"), allowed=NOTHING, verify_certificate=False)
    assert answer.error == Failure.REFUSED
    assert not by_tls.visits


def test_plain_http_has_to_be_allowed(receiver: Receiver) -> None:
    (answer,) = sent(call(receiver.url), allowed=Allowed(networks=LOOPBACK.networks))
    assert answer.error == Failure.REFUSED
    assert not receiver.visits


@pytest.mark.parametrize(
    "private", ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "169.254.169.254", "fe80::1%1"]
)
def test_one_address_of_several_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch, private: str) -> None:
    resolver = Resolver([PUBLIC, private])
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    (answer,) = sent(call("https://ci.example.com/"), allowed=NOTHING)
    assert (answer.error, resolver.asked) == (Failure.REFUSED, ["ci.example.com"])


@pytest.mark.parametrize("again", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_a_name_that_leads_elsewhere_the_second_time(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    receiver.behaviour = receivers.listen
    resolver = Resolver([PUBLIC], [again])
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    url = f"https://ci.example.com:{receiver.port}/hook"
    (answer,) = sent(call(url), allowed=NOTHING)
    assert answer.error == Failure.NOT_CONNECTED
    assert resolver.asked == ["ci.example.com"] * 2
    # It was connected, or this would prove nothing; and not a byte was said.
    assert receiver.heard() == [b""]
    (beside,) = sent(call(url), allowed=LOOPBACK, deadline=0.5)
    assert beside.error == Failure.TIMED_OUT
    assert receiver.heard()[1].startswith(b"\x16\x03")


def test_proxies_of_the_environment_are_not_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Receiver() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.lower(), proxy.url)
        (answer,) = sent(call(receiver.url))
        assert answer.is_success
        assert not proxy.visits


def test_neither_urls_nor_answers_are_logged(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    receiver.behaviour = receivers.malformed(b"HTTP/1.1 500 gossip\r\nX: gossip\r\n\r\ngossip")
    sent(call(f"{receiver.url}/T0/secret"))
    assert receiver.requests
    assert not caplog.records
