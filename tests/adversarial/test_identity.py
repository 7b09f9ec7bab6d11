"""Pretending to be somebody: forged tokens, headers, sessions and forms, and guessing. Each beside a call that passes."""

import base64
import hashlib
import hmac
import json
import secrets
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import httpx
import psycopg
import pytest
from joserfc import jws
from joserfc.jwk import RSAKey
from mlflow.exceptions import MlflowException

from lockgate.access.identity import Provider
from lockgate.server.oidc import Keys, ProviderUnreachable
from tests.house import House, acting, form_of, free_port
from tests.integration.test_access import basic
from tests.provider.town import AUDIENCE, PROXY, Town

pytestmark = pytest.mark.long

COOKIE = "lockgate_session"
SAID = {"aud": AUDIENCE, "preferred_username": "nadia", "email": "nadia@acme.example", "groups": ["ml-team"]}


def good(town: Town, alg: str = "RS256", **claims: Any) -> str:
    return town.provider.token("sub-nadia", alg=alg, **{**SAID, **claims})


def claims_of(town: Town) -> dict[str, Any]:
    at = int(time.time())
    return {"iss": town.provider.issuer, "sub": "sub-nadia", "iat": at, "exp": at + 300, **SAID}


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def unsigned(town: Town) -> str:
    return f"{encoded({'alg': 'none', 'kid': 'RS256'})}.{encoded(claims_of(town))}."


def signed(town: Town, header: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """Write a token as an attacker's own program would, whatever a library thinks of it."""
    signed = f"{encoded(header)}.{encoded(claims_of(town))}"
    return f"{signed}.{base64.urlsafe_b64encode(sign(signed.encode())).rstrip(b'=').decode()}"


def signed_with_the_public_key(town: Town) -> str:
    public = town.provider.key("RS256").as_pem(private=False)
    return signed(town, {"alg": "HS256", "kid": "RS256"}, lambda text: hmac.digest(public, text, "sha256"))


def signed_otherwise(town: Town) -> str:
    key = town.provider.key("RS256")
    return signed(town, {"alg": "RS512", "kid": "RS256"}, lambda text: _sign("RS512", text, key))


def _sign(alg: str, text: bytes, key: Any) -> bytes:
    return bytes(jws.JWSRegistry(algorithms=[alg]).get_alg(alg).sign(text, key))


def with_own_key(town: Town, **header: Any) -> str:
    own = RSAKey.generate_key(2048)
    given = {name: own.as_dict(private=False) if value is None else value for name, value in header.items()}
    return signed(town, {"alg": "RS256", "kid": "RS256", **given}, lambda text: _sign("RS256", text, own))


def with_changed_claims(town: Town) -> str:
    head, _, signature = good(town).split(".")
    return f"{head}.{encoded({**claims_of(town), 'sub': 'sub-admin'})}.{signature}"


def now() -> int:
    return int(time.time())


FORGED = {
    "unsigned": unsigned,
    "signed with the public key as a secret": signed_with_the_public_key,
    "signed with its own key": with_own_key,
    "brings its key along": lambda town: with_own_key(town, jwk=None),
    "says where its key is": lambda town: with_own_key(town, jku=f"{town.house.uri}/jwks"),
    "says where its certificate is": lambda town: with_own_key(town, x5u=f"{town.house.uri}/cert"),
    "demands what we don't know": lambda town: town.provider.token(
        "sub-nadia", header={"crit": ["b64"], "b64": True}, **SAID
    ),
    "genuine, but names a key's address": lambda town: town.provider.token(
        "sub-nadia", header={"jku": f"{town.provider.issuer}/jwks"}, **SAID
    ),
    "another's claims under a genuine signature": with_changed_claims,
    "another kind of signature with this key": signed_otherwise,
    "of an unknown issuer": lambda town: good(town, iss="https://login.evil.example"),
    "of an issuer that is nearly the right one": lambda town: good(town, iss=town.provider.issuer + "/"),
    "of no issuer": lambda town: good(town, iss=None),
    "of the other issuer, with this one's keys": lambda town: good(town, iss=town.platform.issuer),
    "for another audience": lambda town: good(town, aud="another-app"),
    "for the browser's client, not for the API": lambda town: good(town, aud="lockgate"),
    "for nobody": lambda town: good(town, aud=None),
    "for an audience that is no name": lambda town: good(town, aud={"a": AUDIENCE}),
    "expired": lambda town: good(town, exp=now() - 120),
    "never expires": lambda town: good(town, exp=None),
    "expires at no time": lambda town: good(town, exp="tomorrow"),
    "not valid yet": lambda town: good(town, nbf=now() + 600),
    "issued in the future": lambda town: good(town, iat=now() + 600),
    "of no subject": lambda town: good(town, sub=None),
    "of an empty subject": lambda town: good(town, sub=""),
    "of a subject that is no text": lambda town: good(town, sub=["sub-nadia"]),
    "of an endless subject": lambda town: good(town, sub="x" * 300),
    "with an unknown key": lambda town: town.provider.token("sub-nadia", header={"kid": "elsewhere"}, **SAID),
    "with a key of another kind": lambda town: town.provider.token("sub-nadia", header={"kid": "ES256"}, **SAID),
    "malformed": lambda _: "eyJ.eyJ.x",
    "very long": lambda town: good(town, filler="x" * 30_000),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_token_is_nobody(town: Town, how: str) -> None:
    assert town.get(good(town)).status_code == 200
    refused = town.get(FORGED[how](town))
    assert refused.status_code in (401, 431), refused.text
    assert refused.status_code == 431 or refused.json()["error_code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize("alg", ["RS256", "ES256", "PS256", "EdDSA"])
def test_every_signature_that_is_configured_is_believed(town: Town, alg: str) -> None:
    assert town.get(good(town, alg)).status_code == 200
    assert town.get(good(town, alg, nbf=now() + 20, aud=["x", AUDIENCE])).status_code == 200
    # The platform's entry names only RS256.
    job = {"aud": AUDIENCE, "repository": "acme/fraud", "ref": "refs/heads/main"}
    assert town.get(town.platform.token("x", alg=alg, **job)).status_code == (200 if alg == "RS256" else 401)


def test_unknown_keys_don_t_make_the_server_ask_the_provider_again_and_again(town: Town) -> None:
    assert town.get(good(town)).status_code == 200
    before = town.provider.keys_asked()
    for _ in range(20):
        header = {"kid": secrets.token_hex(4)}
        assert town.get(town.provider.token("sub-nadia", header=header, **SAID)).status_code == 401
    assert town.provider.keys_asked() - before <= 1


def test_a_provider_that_is_not_there_or_is_somebody_else_vouches_for_nobody(town: Town) -> None:
    def ask(issuer: str) -> Any:
        entry = Provider(name="x", issuer=issuer, client_id="x")
        return Keys(issuer).claims(entry, good(town), (AUDIENCE,))["sub"]

    assert ask(town.provider.issuer) == "sub-nadia"
    for issuer in (f"http://127.0.0.1:{free_port()}", town.provider.issuer.replace("127.0.0.1", "localhost")):
        with pytest.raises(ProviderUnreachable):
            ask(issuer)


def test_the_same_address_of_mail_and_name_are_not_the_same_person(town: Town) -> None:
    assert town.get(good(town)).status_code == 200
    impostor = town.provider.token("sub-impostor", **SAID)
    refused = town.get(impostor)
    assert (refused.status_code, "somebody's name" in refused.text) == (401, True)
    likewise = town.get(town.provider.token("sub-impostor", **{**SAID, "preferred_username": "Nadia"}))
    assert (likewise.status_code, "identities link nadia " in likewise.text) == (401, True)
    for name in ("admin", "lockgate", "nadia@acme.example/../x", "", 7):
        assert town.get(town.provider.token("sub-impostor", **{**SAID, "preferred_username": name})).status_code == 401


def test_a_forwarded_user_is_believed_from_the_proxy_only(town: Town) -> None:
    def call(peer: str, headers: list[tuple[str, str]]) -> int:
        transport = httpx.HTTPTransport(local_address=peer)
        with httpx.Client(base_url=town.house.uri, transport=transport, timeout=60) as client:
            return client.get("/api/lockgate/v1/requests", headers=headers).status_code

    user = ("X-Forwarded-User", "vic")
    assert call(PROXY, [user]) == 200
    for peer in ("127.0.0.1", "127.0.0.3"):
        assert call(peer, [user]) == 401
        for said in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Client-IP"):
            assert call(peer, [user, (said, PROXY)]) == 401
    # What the caller sent beside what the proxy says is not chosen from.
    assert call(PROXY, [("X-Forwarded-User", "admin"), user]) == 401


def test_an_address_is_on_record_as_the_proxy_says_it_and_as_nobody_else_does(town: Town) -> None:
    for peer, recorded in ((PROXY, "203.0.113.9"), ("127.0.0.3", "127.0.0.3")):
        name = f"p-{secrets.token_hex(4)}"
        headers = {"Authorization": f"Bearer {town.house.tokens['admin']}", "X-Forwarded-For": "203.0.113.9"}
        transport = httpx.HTTPTransport(local_address=peer)
        with httpx.Client(base_url=town.house.uri, transport=transport, headers=headers, timeout=60) as client:
            client.post("/api/lockgate/v1/principals", json={"name": name}).raise_for_status()
        assert next(e for e in town.audit() if e["after"].get("name") == name)["address"] == recorded


def test_a_session_that_somebody_planted_is_not_the_one_that_is_signed_in(town: Town) -> None:
    with town.browser() as attacker, town.browser() as victim:
        town.sign_in(attacker, token=town.house.tokens["vic"])
        planted = attacker.cookies[COOKIE]
        assert attacker.get("/api/lockgate/v1/requests").status_code == 200
        victim.cookies.set(COOKIE, planted, path="/")
        assert town.sign_in(victim, token=town.house.tokens["sue"]).status_code == 303
        victims = [cookie.value for cookie in victim.cookies.jar if cookie.name == COOKIE and cookie.value != planted]
        assert len(victims) == 1
        # The planted one ended; and no value of the browser's choosing becomes a session.
        assert attacker.get("/api/lockgate/v1/requests").status_code == 401
        assert town.get(headers={"cookie": f"{COOKIE}={victims[0]}"}).status_code == 200
        assert town.get(headers={"cookie": f"{COOKIE}={victims[0]}x"}).status_code == 401


def test_a_second_session_that_a_sibling_site_plants_is_not_chosen(town: Town) -> None:
    with town.browser() as attacker, town.browser() as victim:
        town.sign_in(attacker, token=town.house.tokens["vic"])
        town.sign_in(victim, token=town.house.tokens["sue"])
        own, planted = victim.cookies[COOKIE], attacker.cookies[COOKIE]
    for sent in (f"{COOKIE}={planted}; {COOKIE}={own}", f"{COOKIE}={own}; {COOKIE}={planted}"):
        refused = town.get(headers={"cookie": sent})
        assert (refused.status_code, "sends the cookie lockgate_session twice" in refused.text) == (401, True)
        # Signing in would not help, so the page says what does.
        page = httpx.get(f"{town.house.uri}/lockgate/sign-in", headers={"cookie": sent})
        assert (page.status_code, "Delete the cookies of this site" in page.text) == (401, True)
    # What else other sites keep is nobody's business.
    assert town.get(headers={"cookie": f"foo[bar]=1; {COOKIE}={own}; x"}).status_code == 200


def test_an_answer_of_the_provider_is_of_use_in_the_browser_that_asked_only(town: Town) -> None:
    with town.browser() as attacker, town.browser() as victim, httpx.Client(timeout=60) as at_provider:
        there = attacker.get("/lockgate/sign-in/with", params={"provider": "Acme"})
        back = town.provider.log_in(at_provider, there.headers["location"], "sub-nina")
        victim.get("/lockgate/sign-in/with", params={"provider": "Acme"})
        forced = victim.get(back)
        assert (forced.status_code, COOKIE in victim.cookies) == (401, False)
        mixed = attacker.get(back.replace("iss=", "iss=https%3A%2F%2Fevil.example&x="))
        assert mixed.status_code == 401
        kept = attacker.cookies["lockgate_away"]
        assert attacker.get(back).status_code == 303
        # Once: the browser forgets what it kept while away, and the code works no second time either.
        assert "lockgate_away" not in attacker.cookies
        assert attacker.get(back).status_code == 404
        attacker.cookies.set("lockgate_away", kept)
        assert attacker.get(back).status_code == 401
        attacker.cookies.clear()
        assert town.sign_in_with_provider(attacker, "sub-nina").status_code == 303


def test_a_page_of_another_site_changes_nothing(town: Town) -> None:
    model, uri = f"m-{secrets.token_hex(4)}", town.house.uri
    with httpx.Client(base_url=uri, timeout=60) as browser:
        own = {"origin": uri, "sec-fetch-site": "same-origin"}
        hidden = form_of(browser.get("/lockgate/sign-in"))
        filled = {**hidden, "token": town.house.tokens["ada"]}
        # Nor does it sign somebody in under another's name.
        for headers in ({}, {"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
            assert browser.post("/lockgate/sign-in", data=filled, headers=headers).status_code == 403
        without = {"token": town.house.tokens["ada"]}
        assert browser.post("/lockgate/sign-in", data=without, headers=own).status_code == 403
        assert browser.post("/lockgate/sign-in", data=filled, headers=own).status_code == 303
        token = form_of(browser.get("/lockgate/requests"))["csrf_token"]
        create, body = "/api/2.0/mlflow/registered-models/create", {"name": model}
        plain = {"content": json.dumps(body)}
        refused: list[dict[str, Any]] = [
            {"json": body},
            {"json": body, "headers": {"origin": "https://evil.example"}},
            {"json": body, "headers": {"origin": "null"}},
            {"json": body, "headers": {"origin": uri.replace("http:", "https:")}},
            {"json": body, "headers": {"origin": uri, "sec-fetch-site": "same-site"}},
            {"json": body, "headers": {"sec-fetch-site": "none"}},
            {"json": body, "headers": {**own, "x-csrf-token": "wrong"}},
            {"json": body, "headers": {"x-csrf-token": token, "origin": "https://evil.example"}},
            {**plain, "headers": own},
            {**plain, "headers": {**own, "content-type": "text/plain"}},
            {"data": body, "headers": own},
            {"files": {"f": b"x"}, "headers": own},
        ]
        for call in refused:
            assert browser.post(create, **call).status_code == 403, call
        # As MLflow's own UI sends it, and as a page of ours would.
        assert browser.post(create, json=body, headers={"sec-fetch-site": "same-origin"}).status_code == 200
        described = {"name": model, "description": "d"}
        update = "/api/2.0/mlflow/registered-models/update"
        assert browser.patch(update, json=described, headers={"origin": uri}).status_code == 200
        headers = {**own, "x-csrf-token": token}
        assert browser.post(create, content=json.dumps({"name": f"{model}-2"}), headers=headers).status_code != 403
        # Signing out is a change too.
        assert browser.post("/lockgate/sign-out", headers=own).status_code == 403
        assert browser.post("/lockgate/sign-out", data={"csrf_token": "wrong"}, headers=own).status_code == 403
        assert browser.get("/lockgate/requests").status_code == 200
        assert browser.post("/lockgate/sign-out", data={"csrf_token": token}, headers=own).status_code == 303
    # Without a browser there is nothing to forge.
    assert town.house.http("ada").post(create, json={"name": f"{model}-3"}).status_code == 200


def test_a_page_of_another_site_can_t_use_the_proxy_s_word_either(town: Town) -> None:
    transport = httpx.HTTPTransport(local_address=PROXY)
    with httpx.Client(base_url=town.house.uri, transport=transport, headers={"X-Forwarded-User": "ada"}) as browser:
        create, body = "/api/2.0/mlflow/registered-models/create", {"name": f"m-{secrets.token_hex(4)}"}
        assert browser.post(create, json=body, headers={"origin": "https://evil.example"}).status_code == 403
        assert browser.post(create, data=body, headers={"sec-fetch-site": "same-origin"}).status_code == 403
        assert browser.post(create, json=body, headers={"sec-fetch-site": "same-origin"}).status_code == 200


def from_address(town: Town, address: str, headers: dict[str, str]) -> httpx.Response:
    transport = httpx.HTTPTransport(local_address=PROXY)
    return town.get(headers={**headers, "X-Forwarded-For": address}, transport=transport)


def test_a_password_is_guessed_ten_times_and_no_more(town: Town) -> None:
    house, name, other, nobody = town.house, *(f"p-{secrets.token_hex(4)}" for _ in range(3))
    for known in (name, other):
        house.call("admin", "POST", "/principals", {"name": known, "roles": ["viewer"], "password": "correct horse"})
    token = house.call("admin", "POST", "/tokens", {"principal": name})["token"]

    def guess(who: str, password: str, address: str) -> httpx.Response:
        return from_address(town, address, basic(who, password))

    for who in (name, nobody):
        said = []
        for n in range(11):
            said.append(guess(who, f"wrong {n}", f"198.51.100.{n}").json()["message"])
            # A success lets nobody begin anew.
            assert n > 8 or guess(name, "correct horse", "198.51.100.1").status_code == (200 if who == name else 401)
        assert said[:10] == ["The user name or the password is wrong."] * 10
        assert "Nothing more is tried before" in said[10]
    # From anywhere, in the form too, and without looking at the password.
    blocked = guess(name, "correct horse", "203.0.113.77")
    assert (blocked.status_code, "UTC. Try again then, or use a token." in blocked.text) == (401, True)
    assert 0 < int(blocked.headers["retry-after"]) == blocked.json()["details"]["retry_after"] <= 901
    with town.browser() as browser:
        refused = town.sign_in(browser, name=name, password="correct horse")
        assert (refused.status_code, "Nothing more is tried" in refused.text) == (429, True)
        # The account's token lets in all the same, whichever way, and so does everybody else's password.
        assert town.sign_in(browser, token=token).status_code == 303
    assert town.get(token).status_code == 200
    assert guess(name, token, "203.0.113.77").status_code == 200
    assert guess(other, "correct horse", "203.0.113.77").status_code == 200
    # Until the time has come.
    key = hashlib.sha256(f"account\0{name}".encode()).hexdigest()
    house.sql(f"UPDATE lockgate_attempts SET since = since - 900000 WHERE key = '{key}'")
    assert guess(name, "correct horse", "203.0.113.77").status_code == 200


def test_one_address_guesses_at_few_names(town: Town) -> None:
    house, name = town.house, f"p-{secrets.token_hex(4)}"
    house.call("admin", "POST", "/principals", {"name": name, "roles": ["viewer"], "password": "correct horse"})
    for n in range(50):
        assert from_address(town, "192.0.2.1", basic(f"nobody-{n}", "guess")).status_code == 401
    blocked = from_address(town, "192.0.2.1", basic(name, "correct horse"))
    assert (blocked.status_code, "from this address" in blocked.text) == (401, True)
    assert from_address(town, "192.0.2.1", {"Authorization": f"Bearer {house.tokens['vic']}"}).status_code == 200
    assert from_address(town, "192.0.2.2", basic(name, "correct horse")).status_code == 200
    recorded = [e for e in town.audit() if e["address"] == "192.0.2.1"]
    assert len(recorded) == 50


def new_person(house: House) -> str:
    name = f"p-{secrets.token_hex(4)}"
    house.call("admin", "POST", "/principals", {"name": name, "roles": ["viewer"], "password": "correct horse"})
    return name


def test_guesses_side_by_side_are_no_more_than_one_after_the_other(town: Town) -> None:
    name = new_person(town.house)
    guesses = [f"wrong {n}" for n in range(30)]

    def guess(password: str) -> str:
        return str(from_address(town, f"198.51.101.{guesses.index(password)}", basic(name, password)).json()["message"])

    with ThreadPoolExecutor(len(guesses)) as at_once:
        said = list(at_once.map(guess, guesses))
    assert said.count("The user name or the password is wrong.") == 10
    assert sum("Nothing more is tried" in one for one in said) == 20


def test_who_has_the_password_gets_in_side_by_side(town: Town) -> None:
    name = new_person(town.house)
    assert [from_address(town, "198.51.102.1", basic(name, f"wrong {n}")).status_code for n in range(9)] == [401] * 9
    with ThreadPoolExecutor(20) as at_once:
        calls = at_once.map(lambda _: from_address(town, "198.51.102.1", basic(name, "correct horse")), range(20))
        assert [call.status_code for call in calls] == [200] * 20


def test_addresses_of_one_customer_are_one(town: Town) -> None:
    name = new_person(town.house)
    for n in range(50):
        assert from_address(town, f"2001:db8:7:7::{n:x}", basic(f"nobody-{n}", "guess")).status_code == 401
    assert "from this address" in from_address(town, "2001:db8:7:7:ffff::1", basic(name, "correct horse")).text
    assert from_address(town, "2001:db8:7:8::1", basic(name, "correct horse")).status_code == 200


@contextmanager
def nobody_can_count(house: House) -> Iterator[None]:
    """Keep everybody else from writing (SQLite), or from counting failures (PostgreSQL)."""
    if house.backend.startswith("sqlite:///"):
        with closing(sqlite3.connect(house.backend.removeprefix("sqlite:///"), isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE")
            yield
    else:
        with psycopg.connect(house.backend) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('lockgate:attempts', 0))")
            yield


def test_who_goes_on_past_the_limit_keeps_nobody_from_writing(town: Town) -> None:
    house, address = town.house, "192.0.2.7"

    def tries(way: str) -> httpx.Response:
        transport = httpx.HTTPTransport(local_address=PROXY)
        with httpx.Client(base_url=house.uri, transport=transport, timeout=60) as browser:
            said = {"X-Forwarded-For": address}
            if way == "one-time token":
                return browser.get(
                    "/lockgate/sign-in", params={"token": f"lockgate_{secrets.token_hex()}"}, headers=said
                )
            if way == "token":
                token = f"Bearer lockgate_{secrets.token_hex()}"
                return browser.get("/api/lockgate/v1/requests", headers={**said, "Authorization": token})
            away = base64.urlsafe_b64encode(json.dumps({"secret": "x", "provider": "Acme", "next": ""}).encode())
            cookies = {**said, "cookie": f"lockgate_away={away.decode()}"}
            return browser.get("/lockgate/sign-in/callback", params={"state": "y"}, headers=cookies)

    ways = ("one-time token", "token", "provider")
    for n in range(51):
        assert tries(ways[n % 2]).status_code == 401
    for _ in range(50):
        assert tries("provider").status_code == 401
    assert len([e for e in town.audit() if e["address"] == address]) == 100
    with nobody_can_count(house):
        for way in ways:
            begun = time.monotonic()
            assert tries(way).status_code == 401, way
            assert time.monotonic() - begun < 5, way
    # Whoever has a valid token gets in from there all the same.
    valid = {"Authorization": f"Bearer {house.tokens['vic']}"}
    assert from_address(town, address, valid).status_code == 200


def test_tokens_that_are_nobody_s_keep_nobody_from_signing_in_with_a_password(town: Town) -> None:
    name = new_person(town.house)
    for _ in range(51):
        old = {"Authorization": f"Bearer lockgate_{secrets.token_hex()}"}
        assert from_address(town, "192.0.2.8", old).status_code == 401
    assert from_address(town, "192.0.2.8", basic(name, "correct horse")).status_code == 200


def test_the_mlflow_client_says_at_once_that_nothing_more_is_tried(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    name = new_person(town.house)
    for n in range(10):
        from_address(town, f"198.51.103.{n}", basic(name, f"wrong {n}"))
    begun = time.monotonic()
    with acting(town.house.uri, None) as client:
        monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct horse")
        with pytest.raises(MlflowException, match="Nothing more is tried"):
            client.search_registered_models()
    assert time.monotonic() - begun < 10


@contextmanager
def hanging_provider(drip: bytes) -> Iterator[str]:
    """A provider that takes every question, and at best lets an answer drip."""
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        with closing(connection):
            while not over.wait(0.5):
                try:
                    connection.send(drip)
                except OSError:
                    return

    def listen(listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=answer, args=(connection,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threads = [threading.Thread(target=listen, args=(listening,))]
        threads[0].start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


@pytest.mark.parametrize("drip", [b"", b"H"])
def test_a_provider_that_hangs_keeps_no_more_than_one_call_waiting_for_long(town: Town, drip: bytes) -> None:
    token = good(town)

    def ask(keys: Keys, entry: Provider) -> float:
        begun = time.monotonic()
        with pytest.raises(ProviderUnreachable):
            keys.claims(entry, token, (AUDIENCE,))
        return time.monotonic() - begun

    with hanging_provider(drip) as issuer, ThreadPoolExecutor(5) as at_once:
        entry, keys = Provider(name="x", issuer=issuer, client_id="x"), Keys(issuer)
        took = sorted(at_once.map(lambda _: ask(keys, entry), range(5)))
        assert took[-2] < 4
        assert took[-1] < 8
        assert ask(keys, entry) < 1
