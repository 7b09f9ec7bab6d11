"""Signing in: with a provider, as a CI job, through a proxy, with password or token; sessions and what is on record."""

import hashlib
import re
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import httpx
import pytest
from argon2 import PasswordHasher
from mlflow import MlflowClient

from lockgate.access.credentials import new_token, password_hash, token_digest
from lockgate.access.roles import Role, RoleBinding
from lockgate.access.session_tokens import form_token
from lockgate.database import people, sign_ins
from lockgate.database.engine import engine_for, real_uri
from lockgate.registry.transaction import reading, transaction
from lockgate.workflow.people import take_people_turn
from tests.house import House, acting, form_of
from tests.integration.test_access import basic
from tests.provider.town import AUDIENCE, PROXY, Town
from tests.statements import statements

COOKIE = "lockgate_session"
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def new_person(house: House, **given: object) -> str:
    name = f"p-{secrets.token_hex(4)}"
    house.call("admin", "POST", "/principals", {"name": name, "roles": ["viewer"], **given}, 201)
    return name


def new_token_of(house: House, name: str) -> str:
    return str(house.call("admin", "POST", "/tokens", {"principal": name})["token"])


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def test_somebody_new_signs_in_with_the_provider_and_gets_what_their_groups_give(town: Town) -> None:
    with town.browser() as browser:
        entered = town.sign_in_with_provider(browser, "sub-nina")
        assert (entered.status_code, entered.headers["location"]) == (303, "/lockgate/requests")
        assert "lockgate_away" not in browser.cookies
        assert "nina" in browser.get("/lockgate/requests").text
    nina = town.principal("nina")
    assert nina is not None
    assert (nina["groups"], nina["roles"]) == (["senior"], ["reviewer", "viewer"])
    assert {"sign_in.done", "identity.linked"} <= {e["action"] for e in town.audit() if "nina" in str(e)}
    # Again, and it is the same person.
    with town.browser() as browser:
        assert town.sign_in_with_provider(browser, "sub-nina").status_code == 303
    listed = town.house.cli("admin", "identities", "list").stdout
    assert len(re.findall(r"^nina .*sub-nina$", listed, re.M)) == 1


def test_somebody_without_a_mapped_group_is_known_but_may_do_nothing(town: Town) -> None:
    with town.browser() as browser:
        assert town.sign_in_with_provider(browser, "sub-omar").status_code == 303
        answer = browser.get("/api/lockgate/v1/requests")
        assert (answer.status_code, "has no role yet" in answer.text) == (403, True)


def test_who_may_do_nothing_yet_reads_in_the_browser_what_to_do_and_can_leave(town: Town) -> None:
    for path in ("/", "/lockgate/requests", "/api/lockgate/v1/requests"):
        with town.browser() as browser:
            assert town.sign_in_with_provider(browser, "sub-omar").status_code == 303
            page = browser.get(path, headers=HTML)
            assert (page.status_code, page.headers["content-type"]) == (403, "text/html; charset=utf-8")
            assert "You have no role yet" in page.text
            assert "lockgate users add omar --role viewer" in page.text
            # Leaving is a change like others: it takes the page's token.
            assert browser.post("/lockgate/sign-out").status_code == 403
            kept = browser.cookies[COOKIE]
            assert browser.post("/lockgate/sign-out", data=form_of(page), headers=HTML).status_code == 303
            assert COOKIE not in browser.cookies
            assert town.get(headers={"cookie": f"{COOKIE}={kept}"}).status_code == 401
            # And nothing else.
            assert browser.get("/lockgate/requests").status_code == 401


def test_a_page_of_whom_a_proxy_signed_in_has_no_form_to_sign_out(town: Town) -> None:
    name, roleless = new_person(town.house, password="correct horse"), new_person(town.house, roles=[])
    for who, path, status in ((name, "/lockgate/requests", 200), (roleless, "/lockgate/requests", 403)):
        with town.browser(transport=httpx.HTTPTransport(local_address=PROXY)) as browser:
            # Not with a session of before either, which isn't what says who is calling.
            town.sign_in(browser, name=name, password="correct horse")
            page = browser.get(path, headers={"X-Forwarded-User": who, **HTML})
            assert (page.status_code, who in page.text, "<form" in page.text) == (status, True, False)


def test_a_browser_is_told_on_a_page_why_something_did_not_work(town: Town) -> None:
    name = new_person(town.house, password="correct horse")
    with town.browser() as browser:
        town.sign_in(browser, name=name, password="correct horse")
        for path, status in (("requests/999999999", 404), ("requests/x", 400), ("nothing", 404)):
            page = browser.get(f"/lockgate/{path}", headers=HTML)
            assert (page.status_code, "That did not work" in page.text, name in page.text) == (status, True, True), path
        refused = browser.post("/lockgate/sign-out", data={"csrf_token": "old"}, headers=HTML)
        assert (refused.status_code, "The page that sent this is out of date" in refused.text) == (403, True)
        browser.post("/lockgate/sign-out", data=form_of(browser.get("/lockgate/requests")))
        again = browser.post("/lockgate/sign-out", data={"csrf_token": "old"}, headers=HTML)
        assert (again.status_code, again.headers["location"]) == (303, "/lockgate/sign-in")


def test_an_identity_never_takes_a_name_that_is_there_until_an_admin_links_it(town: Town) -> None:
    link = ("--issuer", town.provider.issuer, "--subject", "sub-ada")
    with town.browser() as browser:
        refused = town.sign_in_with_provider(browser, "sub-ada")
        assert refused.status_code == 401
        assert "lockgate identities link ada" in refused.text
        assert COOKIE not in browser.cookies
        assert any(e["action"] == "sign_in.refused" and "somebody's name" in e["reason"] for e in town.audit())
        assert town.house.cli("sue", "identities", "link", "ada", *link).returncode == 1
        assert town.house.cli("admin", "identities", "link", "ada", *link).returncode == 0
        assert town.house.cli("admin", "identities", "link", "sue", *link).returncode == 1
        assert town.house.cli("admin", "identities", "link", "bot", "--issuer", "x", "--subject", "y").returncode == 1
        assert town.sign_in_with_provider(browser, "sub-ada").status_code == 303
        assert browser.get("/api/lockgate/v1/requests").status_code == 200
    assert town.house.cli("admin", "identities", "unlink", "ada", *link).returncode == 0
    with town.browser() as browser:
        assert town.sign_in_with_provider(browser, "sub-ada").status_code == 401


def test_a_bearer_token_of_the_provider_is_somebody_and_gives_and_takes_what_is_mapped(town: Town) -> None:
    name = f"p-{secrets.token_hex(4)}"

    def call(groups: object) -> int:
        said = {"aud": AUDIENCE, "preferred_username": name, "groups": groups}
        return town.get(town.provider.token(f"sub-{name}", **said)).status_code

    assert call(["ml-team", "ml-seniors", "admin", "senior"]) == 200
    known = town.principal(name)
    assert known is not None
    assert (known["groups"], known["roles"]) == (["senior"], ["reviewer", "viewer"])
    town.house.call("admin", "PATCH", f"/principals/{name}", {"groups": ["senior", "risk"]})
    assert call(["ml-team"]) == 200
    known = town.principal(name)
    assert known is not None
    assert (known["groups"], known["roles"]) == (["risk"], ["viewer"])
    changes = [e for e in town.audit() if e["action"] == "principal.changed" and e["after"]["name"] == name]
    assert {(e["actor"], e["reason"]) for e in changes} == {
        ("lockgate", "Acme vouches for somebody new"), ("lockgate", "the groups that Acme gives"), ("admin", "")
    }  # fmt: skip
    assert {frozenset(e["after"]) for e in changes} == {frozenset({"name", "kind", "active", "groups", "roles"})}
    assert call(None) == 403
    assert call("ml-team") == 200
    town.house.call("admin", "PATCH", f"/principals/{name}", {"active": False})
    assert call(["ml-team"]) == 401


def test_the_mlflow_client_works_with_a_job_token_and_no_stored_secret(town: Town) -> None:
    claims = {"repository": "acme/fraud", "aud": AUDIENCE}
    job = town.platform.token("repo:acme/fraud:ref:refs/heads/main", ref="refs/heads/main", **claims)
    model = f"m-{secrets.token_hex(4)}"
    with acting(town.house.uri, job) as client:
        assert isinstance(client, MlflowClient)
        client.create_registered_model(model)
        House.new_version(client, model)
    asked = town.house.ask(model, "1", "stage:Production", by="ada")
    assert "ci" in asked["excluded"]
    assert town.get(town.platform.token("x", ref="refs/tags/v1.2", **claims)).status_code == 200
    for ref in ("refs/heads/feature", "refs/heads/main2", "", None, ["refs/heads/main"]):
        refused = town.get(town.platform.token("x", ref=ref, **claims))
        assert (refused.status_code, "no entry" in refused.text) == (401, True), ref


def test_password_and_token_let_a_browser_in_and_signing_out_ends_it(town: Town) -> None:
    name = new_person(town.house, password="correct horse")
    for filled in ({"name": name, "password": "correct horse"}, {"token": new_token_of(town.house, name)}):
        with town.browser() as browser:
            assert town.sign_in(browser, **filled).status_code == 303
            kept = browser.cookies[COOKIE]
            page = browser.get("/lockgate/requests")
            assert name in page.text
            assert browser.post("/lockgate/sign-out", data=form_of(page)).status_code == 303
            assert COOKIE not in browser.cookies
            assert town.get(headers={"cookie": f"{COOKIE}={kept}"}).status_code == 401
    actions = [e["action"] for e in town.audit() if e["actor"] == name]
    assert actions == ["sign_out.done", "sign_in.done"] * 2
    with town.browser() as browser:
        assert town.sign_in(browser, name=name, password="wrong horse").status_code == 401
    refused = next(e for e in town.audit() if e["action"] == "sign_in.refused")
    assert (refused["actor"], refused["after"]["name"], refused["outcome"]) == ("anonymous", name, "refused")


def test_a_credential_makes_none_that_outlives_it(town: Town) -> None:
    name = new_person(town.house, password="correct horse")
    lasting = {"principal": name, "expires": "90d"}

    def made(headers: dict[str, str], body: dict[str, str]) -> httpx.Response:
        return httpx.post(f"{town.house.uri}/api/lockgate/v1/tokens", json=body, headers=headers)

    ends = int(time.time()) + 300
    link = ("--issuer", town.provider.issuer, "--subject", f"sub-{name}")
    assert town.house.cli("admin", "identities", "link", name, *link).returncode == 0
    said = {"aud": AUDIENCE, "exp": ends, "groups": ["ml-team"]}
    theirs = {"Authorization": f"Bearer {town.provider.token(f'sub-{name}', **said)}"}
    for body in (lasting, {"principal": name}):
        answer = made(theirs, body)
        assert answer.status_code == 201, answer.text
        assert datetime.fromisoformat(answer.json()["expires_at"]).timestamp() == ends
    # As far off as no calendar goes: what lasts for ever.
    endless = town.provider.token(f"sub-{name}", **{**said, "exp": 10**15})
    assert made({"Authorization": f"Bearer {endless}"}, {"principal": name}).status_code == 201
    # A session ends with the token that began it; one that a password began makes what the password makes.
    short = town.house.call("admin", "POST", "/tokens", {"principal": name, "expires": "1h"})
    for filled, end in (
        ({"token": short["token"]}, short["expires_at"]),
        ({"name": name, "password": "correct horse"}, None),
    ):
        with town.browser() as browser:
            town.sign_in(browser, **filled)
            assert browser.post("/api/lockgate/v1/tokens", json={"principal": name}).json()["expires_at"] == end
    assert made(basic(name, "correct horse"), {"principal": name}).json()["expires_at"] is None


def test_a_job_makes_no_token_that_is_stored(town: Town) -> None:
    job = town.platform.token("x", aud=AUDIENCE, repository="acme/fraud", ref="refs/heads/main")
    for body in ({"principal": "ci"}, {"principal": "ci", "expires": "1m"}, {"principal": "vic"}):
        headers = {"Authorization": f"Bearer {job}"}
        refused = httpx.post(f"{town.house.uri}/api/lockgate/v1/tokens", json=body, headers=headers)
        assert (refused.status_code, "CI job" in refused.text) == (403, True), refused.text
    assert town.house.call("ci", "POST", "/tokens", {"principal": "ci", "expires": "1m"}, 201)


def test_a_job_sets_no_password(town: Town) -> None:
    """Not even that of its own account, where that one may let people in."""
    house, body = town.house, {"name": "ci", "password": "correct horse battery"}
    job = town.platform.token("x", aud=AUDIENCE, repository="acme/fraud", ref="refs/heads/main")
    before = next(
        one["roles"] for one in house.call("admin", "GET", "/principals")["principals"] if one["name"] == "ci"
    )
    house.call("admin", "PATCH", "/principals/ci", {"roles": ["admin"]})
    try:
        headers = {"Authorization": f"Bearer {job}"}
        refused = httpx.post(f"{house.uri}/api/lockgate/v1/principals", json=body, headers=headers)
        assert (refused.status_code, "CI job" in refused.text) == (403, True), refused.text
        house.call("ci", "POST", "/principals", body, 200)
    finally:
        house.call("admin", "PATCH", "/principals/ci", {"roles": before})


def test_a_new_password_and_unlinking_end_the_sessions_of_before(town: Town) -> None:
    name = new_person(town.house, password="correct horse")
    link = ("--issuer", town.provider.issuer, "--subject", f"sub-{name}")
    assert town.house.cli("admin", "identities", "link", name, *link).returncode == 0
    token = new_token_of(town.house, name)

    def new_password() -> None:
        town.house.call("admin", "POST", "/principals", {"name": name, "password": "another horse"}, 200)

    def unlinked() -> None:
        assert town.house.cli("admin", "identities", "unlink", name, *link).returncode == 0

    for end, password in ((new_password, "correct horse"), (unlinked, "another horse")):
        with town.browser() as browser:
            assert town.sign_in(browser, name=name, password=password).status_code == 303
            # What is changed otherwise ends none.
            town.house.call("admin", "POST", "/principals", {"name": name, "groups": ["x"]}, 200)
            assert browser.get("/api/lockgate/v1/requests").status_code == 200
            end()
            assert browser.get("/api/lockgate/v1/requests").status_code == 401
    assert town.get(token).status_code == 200


def test_somebody_is_signed_out_everywhere(town: Town) -> None:
    house, name = town.house, new_person(town.house, password="correct horse")
    mine, other = new_token_of(house, name), new_person(house, roles=["admin"])
    house.tokens[name] = mine
    narrowed = house.call("admin", "POST", "/tokens", {"principal": name, "only": ["read"]})["token"]
    house.tokens["narrowed"] = narrowed

    def session() -> str:
        with town.browser() as browser:
            town.sign_in(browser, name=name, password="correct horse")
            return browser.cookies[COOKIE]

    def valid(cookie: str) -> bool:
        return town.get(headers={"cookie": f"{COOKIE}={cookie}"}).status_code == 200

    for who in ("admin", "max", name):
        begun = [session(), session()]
        for refused, whom in (("vic", name), ("narrowed", name), ("max", other)):
            house.call(refused, "DELETE", f"/principals/{whom}/sessions", status=403)
        assert [valid(one) for one in begun] == [True, True]
        done = house.cli(who, "users", "sign-out", name)
        assert (done.returncode, done.stdout) == (0, f"{name} is signed out everywhere.\n"), done.stderr
        assert [valid(one) for one in begun] == [False, False]
        newest = town.audit()[0]
        assert (newest["action"], newest["actor"], newest["after"]["name"]) == ("sign_out.done", who, name)
    assert town.get(mine).status_code == 200
    assert "no principal" in house.call("admin", "DELETE", "/principals/nobody-here/sessions", status=404)["message"]
    assert house.cli("admin", "users", "sign-out", name, "--json").returncode == 0


def test_a_password_that_was_hashed_with_less_effort_is_hashed_anew(town: Town) -> None:
    name = new_person(town.house, password="correct horse")
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("correct horse")

    def stored() -> str:
        engine = engine_for(real_uri(town.house.backend))
        with reading(engine) as session:
            check = sign_ins.password_check(session, name, ())
        return str(check.password_hash)

    town.house.sql(f"UPDATE lockgate_principals SET password_hash = '{weak}' WHERE name = '{name}'")
    assert town.get(headers=basic(name, "wrong horse")).status_code == 401
    assert stored() == weak
    assert town.get(headers=basic(name, "correct horse")).status_code == 200
    strong = stored()
    assert strong.partition("p=")[0] == password_hash("x").partition("p=")[0]
    assert town.get(headers=basic(name, "correct horse")).status_code == 200
    assert stored() == strong


def test_a_password_is_not_to_be_taken_for_a_token(town: Town) -> None:
    body = {"name": f"p-{secrets.token_hex(4)}", "password": "lockgate_correct_horse"}
    assert "taken for a token" in town.house.call("admin", "POST", "/principals", body, 400)["message"]


def test_what_a_provider_gives_does_not_undo_what_an_administrator_takes_meanwhile(town: Town) -> None:
    """Only on PostgreSQL two can be at it at the same time."""
    if not town.house.backend.startswith("postgresql"):
        pytest.skip("one writer at a time")
    name = new_person(town.house, roles=["viewer", "operator"], groups=["risk"])
    link = ("--issuer", town.provider.issuer, "--subject", f"sub-{name}")
    assert town.house.cli("admin", "identities", "link", name, *link).returncode == 0
    token = town.provider.token(f"sub-{name}", aud=AUDIENCE, groups=["ml-team", "ml-seniors"])
    with ThreadPoolExecutor(1) as meanwhile:
        with transaction(engine_for(real_uri(town.house.backend))) as session:
            take_people_turn(session)
            known = people.find(session, name)
            assert known is not None
            people.set_groups(session, known.id, ())
            people.set_bindings(session, known.id, [RoleBinding(Role.VIEWER)])
            signing_in = meanwhile.submit(town.get, token)
            time.sleep(1)
        assert signing_in.result().status_code == 200
    after = town.principal(name)
    assert after is not None
    assert (after["groups"], sorted(after["roles"])) == (["senior"], ["reviewer", "viewer"])


def test_deactivation_and_revocation_end_a_session_at_once(town: Town) -> None:
    name = new_person(town.house)
    made = town.house.call("admin", "POST", "/tokens", {"principal": name})
    with town.browser() as browser:
        town.sign_in(browser, token=made["token"])
        for active, status in ((False, 401), (True, 200)):
            town.house.call("admin", "PATCH", f"/principals/{name}", {"active": active})
            assert browser.get("/api/lockgate/v1/requests").status_code == status
        town.house.call("admin", "DELETE", f"/tokens/{made['id']}")
        assert browser.get("/api/lockgate/v1/requests").status_code == 401


def test_a_session_in_use_gets_a_new_token_and_the_old_one_ends(town: Town) -> None:
    name = new_person(town.house, password="correct horse")
    with town.browser() as browser:
        town.sign_in(browser, name=name, password="correct horse")
        young = browser.cookies[COOKIE]
        browser.get("/api/lockgate/v1/requests")
        assert browser.cookies[COOKIE] == young
        rest, _, issued = young.rpartition(".")
        old = f"{rest}.{int(issued) - 3600}"
        town.house.sql(f"UPDATE lockgate_tokens SET digest = '{digest(old)}' WHERE digest = '{digest(young)}'")
        browser.cookies.clear()
        browser.cookies.set(COOKIE, old, path="/")
        answer = browser.get("/lockgate/requests")
        new = answer.cookies[COOKIE]
        assert new != old
        assert form_token(new) == form_token(old)
        headers = [{"cookie": f"{COOKIE}={one}"} for one in (old, new)]
        # For calls under way; and it is not renewed twice.
        both = [town.get(headers=one) for one in headers]
        assert [one.status_code for one in both] == [200, 200]
        assert [one.headers.get("set-cookie") for one in both] == [None, None]
        town.house.sql(f"UPDATE lockgate_tokens SET expires_at = expires_at - 60000 WHERE digest = '{digest(old)}'")
        assert [town.get(headers=one).status_code for one in headers] == [401, 200]


def test_signing_out_with_an_old_token_ends_the_session_that_would_be_renewed(town: Town) -> None:
    name = new_person(town.house, password="correct horse")
    with town.browser() as browser:
        town.sign_in(browser, name=name, password="correct horse")
        page, young = browser.get("/lockgate/requests"), browser.cookies[COOKIE]
        rest, _, issued = young.rpartition(".")
        old = f"{rest}.{int(issued) - 3600}"
        town.house.sql(f"UPDATE lockgate_tokens SET digest = '{digest(old)}' WHERE digest = '{digest(young)}'")
        browser.cookies.clear()
        headers = {"cookie": f"{COOKIE}={old}", "sec-fetch-site": "same-origin"}
        left = browser.post("/lockgate/sign-out", data=form_of(page), headers=headers)
        assert left.status_code == 303
        [given] = left.headers.get_list("set-cookie")
        assert given.startswith(f'{COOKIE}=""; ')
        assert town.get(headers={"cookie": f"{COOKIE}={old}"}).status_code == 401


def test_a_trusted_proxy_says_who_is_calling(town: Town) -> None:
    via_proxy = httpx.HTTPTransport(local_address=PROXY)
    assert town.get(headers={"X-Forwarded-User": "vic"}, transport=via_proxy).status_code == 200
    for name in ("nobody-here", "", "vic, admin"):
        answer = town.get(headers={"X-Forwarded-User": name}, transport=httpx.HTTPTransport(local_address=PROXY))
        assert answer.status_code == 401, name


def test_knowing_who_calls_takes_one_statement(town: Town) -> None:
    if not town.house.backend.startswith("postgresql"):
        pytest.skip("only PostgreSQL tells what it is asked")
    name = new_person(town.house, password="correct horse")
    job = {"aud": AUDIENCE, "repository": "acme/fraud", "ref": "refs/heads/main"}
    with town.browser() as browser:
        assert town.sign_in(browser, name=name, password="correct horse").status_code == 303
        ways = {
            "token": ({"Authorization": f"Bearer {new_token_of(town.house, name)}"}, 1),
            "job": ({"Authorization": f"Bearer {town.platform.token('x', **job)}"}, 1),
            "session": ({"cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}, 1),
            "password": (basic(name, "correct horse"), 2),
        }
    said = {"aud": AUDIENCE, "preferred_username": f"{name}-jwt", "groups": ["ml-team"]}
    ways["jwt"] = {"Authorization": f"Bearer {town.provider.token(f'sub-{name}', **said)}"}, 1
    for way, (headers, expected) in ways.items():
        path = f"{town.house.uri}/api/lockgate/v1/openapi.json"
        assert httpx.get(path, headers=headers).status_code == 200
        with statements(town.house.backend) as told:
            assert httpx.get(path, headers=headers).status_code == 200
        assert len([one for one in told if "lockgate_principals" in one]) == expected, (way, told)


def test_no_secret_reaches_log_audit_or_events(town: Town) -> None:
    name = new_person(town.house, password="a very secret horse")
    once, token = new_token(), new_token_of(town.house, name)
    at = int(time.time() * 1000)
    town.house.sql(
        "INSERT INTO lockgate_tokens (principal_id, digest, use, created_at, expires_at) "
        f"SELECT id, '{token_digest(once)}', 'sign-in', {at}, {at + 600_000} FROM lockgate_principals "
        f"WHERE name = '{name}'"
    )
    job = town.platform.token("x", aud=AUDIENCE, repository="acme/fraud", ref="refs/heads/main")
    bad = town.platform.token("x", aud=AUDIENCE, repository="acme/fraud", ref="refs/heads/other")
    known = [*town.secrets, once, token, job, bad, "a very secret horse", "a wrong horse", "typed-into-the-name-field"]
    with town.browser() as browser:
        welcome = browser.get("/lockgate/sign-in", params={"token": once})
        shown = re.search(r"lockgate_[\w-]+", welcome.text)
        assert shown is not None
        known += [shown[0], browser.cookies[COOKIE]]
        assert town.sign_in(browser, token=token).status_code == 303
        known.append(browser.cookies[COOKIE])
        assert town.sign_in(browser, name="typed-into-the-name-field", password="a wrong horse").status_code == 401
        assert town.sign_in_with_provider(browser, "sub-nina").status_code == 303
        known += [browser.cookies[COOKIE], form_token(browser.cookies[COOKIE])]
    assert [town.get(one).status_code for one in (token, job, bad)] == [200, 200, 401]
    log = town.house.server.log
    assert "GET /lockgate/sign-in HTTP" in log
    assert "GET /lockgate/sign-in/callback HTTP" in log
    seen = {"log": log, "audit": str(town.audit()), "export": town.house.cli("admin", "audit", "export").stdout}
    for where, text in seen.items():
        assert [secret for secret in {*known, *town.secrets} if secret in text] == [], where


@pytest.mark.parametrize(
    ("line", "text", "says"),
    [
        (2, "version: 1\nprovider: []\n", "did you mean `providers`?"),
        (4, "version: 1\nproviders:\n  - name: x\n    issuer: http://login.example\n    client_id: c\n", "https URL"),
    ],
)
def test_a_wrong_file_stops_the_start_and_names_the_line(tmp_path, line: int, text: str, says: str) -> None:
    file = tmp_path / "identity.yaml"
    file.write_text(text)
    house = House(tmp_path, f"sqlite:///{tmp_path}/never.db", "--identity", str(file))
    with pytest.raises(RuntimeError, match=rf"line {line}: .*{re.escape(says)}"):
        house.server.start()
    assert not (tmp_path / "never.db").exists()


def test_an_admin_token_that_could_be_guessed_stops_the_start(tmp_path) -> None:
    house = House(tmp_path, f"sqlite:///{tmp_path}/never.db", environment={"LOCKGATE_ADMIN_TOKEN": "x" * 23})
    with pytest.raises(RuntimeError, match="has fewer than 24 characters and could be guessed"):
        house.server.start()
    assert not (tmp_path / "never.db").exists()
