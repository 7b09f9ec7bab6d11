"""What is wrong with a token is said as it is."""

import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from lockgate.access.jwt import UnknownKey, end_of, public_keys, verified
from lockgate.errors import Unauthenticated

ISSUER = "https://login.acme.example"
FIRST, SECOND = (ECKey.generate_key("P-256") for _ in range(2))


def claims(header: dict[str, Any], *published: tuple[str | None, ECKey], **more: Any) -> dict[str, Any]:
    at = int(time.time())
    said = {"iss": ISSUER, "aud": "here", "sub": "s", "iat": at, "exp": at + 300, **more}
    token = jwt.encode({"alg": "ES256", **header}, said, FIRST)
    keys = [{**key.as_dict(private=False), "kid": kid} for kid, key in published]
    shown = {"keys": [{name: value for name, value in key.items() if value is not None} for key in keys]}
    return verified(token, public_keys(shown), ["ES256"], ISSUER, ["here"], datetime.now(UTC))


def test_which_key_is_meant_is_said_or_clear() -> None:
    assert claims({"kid": "a"}, ("a", FIRST), ("b", SECOND))["sub"] == "s"
    assert claims({}, ("a", FIRST))["sub"] == "s"
    with pytest.raises(UnknownKey):
        claims({"kid": "c"}, ("a", FIRST), ("b", SECOND))
    with pytest.raises(Unauthenticated, match="its header has no `kid`"):
        claims({}, ("a", FIRST), ("b", SECOND))
    with pytest.raises(Unauthenticated, match="several keys by the same `kid`"):
        claims({"kid": "a"}, ("a", FIRST), ("a", SECOND))


@pytest.mark.parametrize("exp", [4_102_444_800, 10**12, 10**30])
def test_a_token_ends_some_day(exp: int) -> None:
    assert end_of(claims({}, ("a", FIRST), exp=exp)).year == (2100 if exp < 10**10 else 9999)


@pytest.mark.parametrize(("warning", "shown"), [("EdDSA is deprecated via RFC 9864", False), ("anything else", True)])
def test_other_warnings_are_heard(warning: str, shown: bool) -> None:
    program = f"import lockgate.access.jwt as j; j.warnings.warn({warning!r}, j.SecurityWarning)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (warning in done.stderr) is shown
