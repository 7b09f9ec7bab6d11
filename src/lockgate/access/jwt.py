"""Validating a JSON Web Token, given the issuer's keys. Pure: keys and time are arguments."""

import json
import warnings
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

from lockgate.errors import Unauthenticated

#: How far the issuer's clock and ours may be apart, in seconds.
LEEWAY = 60
MAX_LENGTH = 16_000
#: Headers that name the key to check with, or extend the rules: the caller's word on its own credentials.
_REFUSED_HEADERS = ("jwk", "jku", "x5u", "x5c", "crit", "b64")
_MAX_SUBJECT = 255
_MIN_RSA_BITS = 2048

# That RFC 9864 calls EdDSA by the name of its curve is no news for the log. Whatever else joserfc warns of is.
warnings.filterwarnings("ignore", message="EdDSA is deprecated via RFC 9864", category=SecurityWarning)
_LAST_MOMENT = 253_402_300_799  # of the year 9999, in seconds


_UNNAMED = (
    "The token does not say which of its issuer's keys it is signed with: its header has no `kid`. Have the issuer put "
    "one there."
)
_AMBIGUOUS = "The token's issuer publishes several keys by the same `kid`. Have it give each key one of its own."


class UnknownKey(Exception):
    """The token names a key that is not among the issuer's keys that we have."""


def looks_like_jwt(token: str) -> bool:
    """Say whether a bearer token is a JWT: three parts, of which the first is a JSON object in base64."""
    return token.startswith("eyJ") and token.count(".") == 2


def claimed_issuer(token: str) -> str:
    """Return who a token says it is from: to choose the keys to check it with, and for nothing else."""
    issuer = _part(token, 1).get("iss")
    return issuer if isinstance(issuer, str) else ""


def public_keys(document: Mapping[str, Any]) -> KeySet:
    """Read a JWK set; what is not a public key to check signatures with is left out."""
    listed = document.get("keys")
    found = []
    for data in listed if isinstance(listed, list) else []:
        if not isinstance(data, dict) or data.get("kty") not in ("RSA", "EC", "OKP") or data.get("use") == "enc":
            continue
        try:
            key = KeySet.import_key_set({"keys": [data]}).keys[0]
            if getattr(key.raw_value, "key_size", _MIN_RSA_BITS) >= _MIN_RSA_BITS or data["kty"] != "RSA":
                found.append(key)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return KeySet(found)


def verified(
    token: str, keys: KeySet, algorithms: Collection[str], issuer: str, audience: Collection[str], at: datetime
) -> dict[str, Any]:
    """Return the claims of a token.

    Args:
        token: The token.
        keys: The issuer's public keys.
        algorithms: The signatures that are believed.
        issuer: Who must have issued it, exactly.
        audience: Whom it must be for: one of these.
        at: The time.

    Raises:
        Unauthenticated: saying what is wrong with it, never what is in it.
        UnknownKey: if it names a key that is not among these.
    """
    header = _part(token, 0)
    if (refused := next((name for name in _REFUSED_HEADERS if name in header), None)) is not None:
        raise Unauthenticated(f"The token's header has `{refused}`, which is not accepted.")
    allowed = {*algorithms, *(["Ed25519"] if "EdDSA" in algorithms else [])}
    if header.get("alg") not in allowed:
        raise Unauthenticated(f"The token is not signed as the server expects ({', '.join(sorted(algorithms))}).")
    kid = header.get("kid")
    fitting = [key for key in keys if key.kid == kid] if kid is not None else list(keys)
    if len(fitting) > 1:
        raise Unauthenticated(_AMBIGUOUS if kid is not None else _UNNAMED)
    if not fitting:
        raise UnknownKey
    try:
        registry = JWSRegistry(algorithms=list(allowed), strict_check_header=False)
        claims = jwt.decode(token, fitting[0], list(allowed), registry).claims
        _rules(issuer, audience, at).validate(claims)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise Unauthenticated(_why(error)) from None
    subject = claims["sub"]
    if not subject or len(subject) > _MAX_SUBJECT or not subject.isprintable():
        raise Unauthenticated("The token's subject is not one.")
    return claims


def end_of(claims: Mapping[str, Any]) -> datetime:
    """Return when a token ends that was found valid, as its claims say."""
    return datetime.fromtimestamp(min(claims["exp"], _LAST_MOMENT), UTC)


def _rules(issuer: str, audience: Collection[str], at: datetime) -> jwt.JWTClaimsRegistry:
    return jwt.JWTClaimsRegistry(
        now=int(at.timestamp()),
        leeway=LEEWAY,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "values": list(audience)},
        exp={"essential": True},
        sub={"essential": True},
    )


def _why(error: Exception) -> str:
    if type(error).__name__ == "ExpiredTokenError":
        return "The token has expired. Get a new one from its issuer."
    claim = getattr(error, "claim", None)
    if claim == "aud":
        return "The token is for another audience. Ask its issuer for one that is for this server."
    if claim in ("nbf", "iat"):
        return "The token is not valid yet. See whether the clocks of its issuer and of this server are right."
    if claim is not None:
        return f"The token's claim `{claim}` is missing or not what it must be."
    return "The token's signature or form is not valid."


def _part(token: str, which: int) -> dict[str, Any]:
    if len(token) > MAX_LENGTH:
        raise Unauthenticated("The token is too long.")
    try:
        found = json.loads(urlsafe_b64decode(token.split(".")[which].encode("ascii")))
    except (ValueError, IndexError, RecursionError):
        raise Unauthenticated("The token is malformed.") from None
    if not isinstance(found, dict):
        raise Unauthenticated("The token is malformed.")
    return found
