"""What is read from a browser's cookies, and what it is told to keep."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from mlflow.server.fastapi_security import SecurityHeadersMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lockgate.errors import Unauthenticated
from lockgate.server.cookies import Cookie, GivenCookies, cookie, give_cookie, take_cookie
from lockgate.settings import WorkerSettings

PLAIN = WorkerSettings("", "")
SESSION = "lockgate_session"


def sent(*lines: str, scheme: str = "http") -> Request:
    headers = [(b"cookie", line.encode()) for line in lines]
    return Request({"type": "http", "scheme": scheme, "headers": headers, "path": "/", "method": "GET"})


@pytest.mark.parametrize(
    "line",
    [
        f"{SESSION}=abc",
        f"foo[bar]=1; {SESSION}=abc",
        f'a="; {SESSION}=abc',
        f"{{}}; =; {SESSION}=abc; b=\\",
        f"a=b=c;{SESSION}=abc;",
        f"theme=dark, light; {SESSION}=abc; ünï=çode",
    ],
)
def test_what_other_applications_keep_does_not_hide_the_session(line: str) -> None:
    assert cookie(sent(line), Cookie.SESSION, PLAIN) == "abc"


def test_there_may_be_no_session() -> None:
    for lines in ((), ("",), (f"{SESSION}=",), (f"x{SESSION}=abc",), (f"{SESSION}x=abc",), ("LOCKGATE_SESSION=abc",)):
        assert cookie(sent(*lines), Cookie.SESSION, PLAIN) is None


@pytest.mark.parametrize("lines", [(f"{SESSION}=abc; {SESSION}=def",), (f"{SESSION}=abc", f"{SESSION}=def")])
@pytest.mark.parametrize("turned", [False, True])
def test_of_two_sessions_none_is_taken(lines: tuple[str, ...], turned: bool) -> None:
    with pytest.raises(Unauthenticated, match=f"sends the cookie {SESSION} twice"):
        cookie(sent(*(reversed(lines) if turned else lines)), Cookie.SESSION, PLAIN)


@pytest.mark.parametrize(
    ("scheme", "settings", "name", "path"),
    [
        ("http", PLAIN, SESSION, "/"),
        ("http", WorkerSettings("/ml", ""), SESSION, "/ml/"),
        ("https", PLAIN, f"__Host-{SESSION}", "/"),
        ("https", WorkerSettings("/ml", ""), f"__Secure-{SESSION}", "/ml/"),
        ("http", WorkerSettings("", "https://models.example.com"), f"__Host-{SESSION}", "/"),
        ("http", WorkerSettings("", "http://models.example.com"), SESSION, "/"),
    ],
)
def test_names_keep_out_what_others_plant(scheme: str, settings: WorkerSettings, name: str, path: str) -> None:
    def keep(request: Request, _answer: Response) -> None:
        give_cookie(request, Cookie.SESSION, "abc", settings, 60)

    [given] = answered(keep, scheme=scheme).headers.get_list("set-cookie")
    value, *attributes = given.split("; ")
    assert value == f"{name}=abc"
    secure = {"Secure"} if name != SESSION else set()
    assert set(attributes) == {"HttpOnly", "Max-Age=60", f"Path={path}", "SameSite=lax"} | secure
    # Browsers let nobody else set the name with the prefix, and what they let others set is not read.
    assert cookie(sent(f"{name}=abc", scheme=scheme), Cookie.SESSION, settings) == "abc"
    for planted in {SESSION, f"__Secure-{SESSION}", f"__Host-{SESSION}"} - {name}:
        assert cookie(sent(f"{planted}=evil", scheme=scheme), Cookie.SESSION, settings) is None
        both = sent(f"{planted}=evil; {name}=abc", scheme=scheme)
        assert cookie(both, Cookie.SESSION, settings) == "abc"


def test_an_answer_gives_and_takes_several_cookies_beside_the_application_s_own() -> None:
    def keep(request: Request, answer: Response) -> None:
        answer.set_cookie("theirs", "1")
        give_cookie(request, Cookie.SESSION, "abc", PLAIN, 60)
        take_cookie(request, Cookie.AWAY, PLAIN)

    given = answered(keep, SecurityHeadersMiddleware).headers.get_list("set-cookie")
    assert [line.split(";")[0] for line in given] == ["theirs=1", f"{SESSION}=abc", 'lockgate_away=""']
    assert "Max-Age=0" in given[-1]


def test_what_is_given_last_counts() -> None:
    def keep(request: Request, _answer: Response) -> None:
        give_cookie(request, Cookie.SESSION, "renewed", PLAIN, 60)
        take_cookie(request, Cookie.SESSION, PLAIN)

    [given] = answered(keep).headers.get_list("set-cookie")
    assert given.startswith(f'{SESSION}=""; ')


def answered(
    keep: Callable[[Request, Response], None],
    within: Callable[[ASGIApp], Any] = lambda app: app,
    scheme: str = "http",
) -> httpx.Response:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answer = Response("ok")
        keep(Request(scope), answer)
        await answer(scope, receive, send)

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app=GivenCookies(within(app)))
        async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://localhost") as client:
            return await client.get("/")

    return asyncio.run(get())
