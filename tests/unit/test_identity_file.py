"""The identity file, what it makes of claims, and when guessing ends."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lockgate.access import attempts, session_tokens
from lockgate.access.attempts import Failures, after_failure, blocked_until
from lockgate.access.claims import claimed, standing
from lockgate.access.identity import NO_IDENTITY_FILE, IdentityFile, Platform, Provider
from lockgate.access.principals import Principal
from lockgate.access.roles import Role, RoleBinding
from lockgate.errors import BadInput
from lockgate.identity_file import identity_file

NOON = datetime(2026, 5, 12, 12, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
PROVIDER = """\
version: 1
providers:
  - name: Acme
    issuer: https://login.acme.example
    client_id: lockgate
"""
PLATFORM = """\
version: 1
platforms:
  - issuer: https://ci.example
    audience: here
    trust:
"""


def read(tmp_path: Path, text: str, **environment: str) -> IdentityFile:
    file = tmp_path / "identity.yaml"
    file.write_text(text)
    return identity_file(str(file), environment)


def test_without_a_file_nobody_else_vouches() -> None:
    assert identity_file("") is NO_IDENTITY_FILE
    assert NO_IDENTITY_FILE.issuing("") is None


@pytest.mark.parametrize("page", ["sign-in-with-a-provider", "sign-in-from-ci"])
def test_the_files_that_are_shown_are_valid(tmp_path: Path, page: str) -> None:
    text = (ROOT / f"docs/howto/{page}.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    assert read(tmp_path, text, ACME_CLIENT_SECRET="s").issuers


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (PROVIDER + "    clientid: x\n", "line 6: providers.0.clientid: there is no such setting here; did you mean"),
        (PROVIDER + "    client_secret: x\n", "there is no such setting here"),
        (PROVIDER + "    algorithms: [HS256]\n", "line 6: providers.0.algorithms"),
        (PROVIDER + "    algorithms: none\n", "line 6: providers.0.algorithms"),
        (PROVIDER + "    algorithms: []\n", "line 6: providers.0.algorithms"),
        (PROVIDER + "    roles: {g: admin}\n", "an admin gives the role admin"),
        (PROVIDER + "    roles: {g: 'maintainer:x-*'}\n", "an admin gives the role maintainer"),
        (PROVIDER + "    roles: {g: boss}\n", "There is no role 'boss'"),
        (PROVIDER + f"    roles: {{g: 'reviewer:{'x' * 257}'}}\n", "may have 256 characters"),
        (PROVIDER + "    scopes: [profile]\n", "scopes must contain openid"),
        (PROVIDER + "    groups: {g: 'a b'}\n", "must be the name of a group"),
        (PROVIDER + PROVIDER.partition("providers:\n")[2], "each issuer stands in the file once"),
        (PROVIDER.replace("https:", "http:"), "line 4: providers.0.issuer: must be the issuer's https URL"),
        (PROVIDER.replace("https://login", "https://u:p@login"), "https URL"),
        (PROVIDER + "    client_secret_env: NOT_SET\n", "that variable is not set"),
        (PLATFORM + "      - {service_account: ci, claims: {}}\n", "line 6: platforms.0.trust.0.claims"),
        (PLATFORM + "      - {service_account: ci, claims: {repository: '*'}}\n", "does not match everything"),
        (PLATFORM + "      - {service_account: ci}\n", "this is missing"),
        (PLATFORM.replace("    audience: here\n", "") + "      - {service_account: a, claims: {r: x}}\n", "audience"),
        ("version: 1\ntrusted_proxies: {addresses: 0.0.0.0/0}\n", "everybody would be a proxy"),
        ("version: 1\ntrusted_proxies: {addresses: proxy.local}\n", "line 2: trusted_proxies.addresses"),
        ("version: 1\ntrusted_proxies: {addresses: 10.0.0.1, header: Cookie}\n", "has another meaning"),
        ("version: 2\n", "line 1: version"),
        ("- x\n", "starts with `version: 1`"),
        ("version: 1\nproviders: &a []\n", "anchors and aliases"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadInput) as error:
        read(tmp_path, text)
    assert says in error.value.message


def test_a_loopback_issuer_may_be_plain_http(tmp_path: Path) -> None:
    for host in ("localhost", "127.0.0.1", "[::1]"):
        found = read(tmp_path, PROVIDER.replace("https://login.acme.example", f"http://{host}:8080"))
        assert found.issuing(f"http://{host}:8080") is not None
    for host in ("localhost.evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "[::2]"):
        with pytest.raises(BadInput):
            read(tmp_path, PROVIDER.replace("https://login.acme.example", f"http://{host}:8080"))


@pytest.mark.parametrize(
    ("claims", "account"),
    [
        ({"repository": "acme/fraud", "ref": "refs/heads/main"}, "ci"),
        ({"repository": "acme/fraud", "ref": "refs/tags/v1/x"}, "release"),
        ({"repository": "acme/fraud", "ref": "refs/heads/mainly"}, None),
        ({"repository": "acme/fraud2", "ref": "refs/heads/main"}, None),
        ({"repository": "ACME/fraud", "ref": "refs/heads/main"}, None),
        ({"repository": ["acme/fraud"], "ref": "refs/heads/main"}, None),
        ({"repository": "acme/fraud"}, None),
        ({"protected": True, "id": 7}, "numbers"),
        ({"protected": "true", "id": "7"}, "numbers"),
        ({"protected": False, "id": 7}, None),
        ({}, None),
    ],
)
def test_which_account_a_job_is(tmp_path: Path, claims: dict[str, object], account: str | None) -> None:
    trust = (
        "      - {service_account: ci, claims: {repository: acme/fraud, ref: refs/heads/main}}\n"
        "      - {service_account: release, claims: {repository: acme/fraud, ref: refs/tags/v*}}\n"
        "      - {service_account: numbers, claims: {protected: true, id: 7}}\n"
    )
    platform = read(tmp_path, PLATFORM + trust).issuing("https://ci.example")
    assert isinstance(platform, Platform)
    assert platform.account_for(claims) == account


def test_a_provider_gives_and_takes_what_it_maps_and_nothing_else(tmp_path: Path) -> None:
    text = PROVIDER + "    groups: {a: [one, two], b: two}\n    roles: {a: viewer, b: 'reviewer:x-*'}\n"
    provider = read(tmp_path, text).providers[0]
    assert isinstance(provider, Provider)
    admin, viewer, reviewer = RoleBinding(Role.ADMIN), RoleBinding(Role.VIEWER), RoleBinding(Role.REVIEWER, "x-*")
    known = Principal(1, "p", groups=frozenset({"own", "one"}), bindings=(admin, reviewer))
    for groups, gives in (
        (["a"], ({"own", "one", "two"}, (admin, viewer))),
        (["b", "admins", 3], ({"own", "two"}, (admin, reviewer))),
        (["own", "one"], ({"own"}, (admin,))),
        (None, ({"own"}, (admin,))),
    ):
        said = claimed(provider, {"sub": "s", "groups": groups})
        assert standing(provider, known, said) == gives


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.0.7.1", True), ("10.0.7.16", False), ("::ffff:10.0.7.1", True), ("fd00::1", True), ("fd01::1", False),
        ("10.0.7.1, 1.2.3.4", False), ("", False), ("testclient", False),
    ],
)  # fmt: skip
def test_who_is_a_trusted_proxy(tmp_path: Path, address: str, trusted: bool) -> None:
    text = "version: 1\ntrusted_proxies: {addresses: [10.0.7.0/28, 'fd00::/16']}\n"
    proxies = read(tmp_path, text).trusted_proxies
    assert proxies is not None
    assert proxies.include(address) is trusted


def test_failures_are_counted_in_windows() -> None:
    who = attempts.account("ada")
    failed: Failures | None = None
    for n in range(attempts.PER_ACCOUNT):
        assert blocked_until([who], [failed] if failed else [], NOON) is None
        failed = after_failure(failed, who.key, NOON + timedelta(minutes=n))
    assert failed == Failures(who.key, 10, NOON)
    end = NOON + attempts.WINDOW
    assert blocked_until([who], [failed], end - timedelta(seconds=1)) == end
    assert blocked_until([who], [failed], end) is None
    assert after_failure(failed, who.key, end) == Failures(who.key, 1, end)
    assert blocked_until([attempts.address("ada")], [Failures(attempts.address("ada").key, 10, NOON)], NOON) is None


def test_what_is_one_address() -> None:
    same = [
        ("198.51.100.7", "::ffff:198.51.100.7"),
        ("2001:db8::1", "2001:db8:0:0:ffff::2"),
        ("testclient", "testclient"),
    ]
    for one, other in same:
        assert attempts.address(one) == attempts.address(other)
        assert attempts.tokens_from(one) == attempts.tokens_from(other)
        assert attempts.tokens_from(one).key != attempts.address(one).key
    assert attempts.address("198.51.100.7") != attempts.address("198.51.100.8")
    assert attempts.address("2001:db8::1") != attempts.address("2001:db8:0:1::1")


def test_a_session_keeps_its_forms_and_is_renewed_by_the_hour() -> None:
    first = session_tokens.new_session_token(NOON)
    other = session_tokens.new_session_token(NOON)
    second = session_tokens.new_session_token(NOON + session_tokens.ROTATION, after=first)
    assert len({first, other, second}) == 3
    assert session_tokens.is_form_token(second, session_tokens.form_token(first))
    assert not session_tokens.is_form_token(other, session_tokens.form_token(first))
    assert not session_tokens.is_form_token(first, "")
    assert not session_tokens.is_due(first, NOON + session_tokens.ROTATION - timedelta(seconds=1))
    assert session_tokens.is_due(first, NOON + session_tokens.ROTATION)
    assert not session_tokens.is_due("lockgate_x", NOON)
    assert not session_tokens.is_due("a.b.²", NOON)
