"""The identity file: which providers, CI platforms and proxies say who is calling, and what they may say."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from lockgate.access.principals import NAME
from lockgate.access.roles import Role, RoleBinding, parse_binding
from lockgate.binding import is_kept_secret
from lockgate.errors import BadInput

#: Signatures that a public key checks. Never `none`, and never HS*, for which the public key would be the secret.
Algorithm = Literal["RS256", "ES256", "PS256", "EdDSA"]
#: Those who have these can take the gate down; only an admin gives them, by name.
_NEVER_MAPPED = (Role.ADMIN, Role.MAINTAINER)


def _issuer(value: object) -> str:
    text = str(value)
    parts = urlsplit(text)
    if not is_kept_secret(text) or "@" in parts.netloc or parts.query or parts.fragment or len(text) > 256:
        raise ValueError("must be the issuer's https URL, exactly as it stands in its tokens (`iss`)")
    return text


def _one_or_many(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _group(value: object) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError("must be the name of a group: letters, digits and . _ @ + -")
    return value


def _binding(value: object) -> RoleBinding:
    try:
        binding = parse_binding(str(value))
    except BadInput as error:
        raise ValueError(error.message.removesuffix(".")) from None
    if binding.role in _NEVER_MAPPED:
        raise ValueError(
            f"an admin gives the role {binding.role} (`lockgate users add NAME --role {binding.role}`), not a provider"
        )
    return binding


def _claim(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int) and str(value).strip("*?"):
        return str(value)
    raise ValueError("must be a value or a shell pattern (`refs/tags/v*`) that does not match everything")


Issuer = Annotated[str, BeforeValidator(_issuer)]
Words = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_one_or_many)]
Groups = Annotated[tuple[Annotated[str, BeforeValidator(_group)], ...], BeforeValidator(_one_or_many)]
Bindings = Annotated[tuple[Annotated[RoleBinding, BeforeValidator(_binding)], ...], BeforeValidator(_one_or_many)]
ClaimPattern = Annotated[str, BeforeValidator(_claim)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Issuing(_Part):
    """Somebody whose tokens are believed."""

    issuer: Issuer
    algorithms: Annotated[tuple[Algorithm, ...], BeforeValidator(_one_or_many), Field(min_length=1)] = ("RS256",)
    #: Whom a bearer token must be for. Empty: no bearer token of this issuer is believed.
    audience: Words = ()


class Provider(Issuing):
    """A team's OpenID provider: people sign in with it in the browser, or send its tokens."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    client_id: Annotated[str, Field(min_length=1)]
    #: Name of the environment variable that holds the client's secret; none for a public client.
    client_secret_env: str | None = None
    scopes: Words = ("openid", "profile")
    groups_claim: str = "groups"
    #: Which groups of ours each group of the provider's gives.
    groups: dict[str, Groups] = {}
    #: Which roles each group of the provider's gives.
    roles: dict[str, Bindings] = {}
    #: Whether somebody new gets a principal. Otherwise an administrator links them.
    provision: bool = False
    #: What a new principal is called.
    name_claim: str = "preferred_username"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if "openid" not in self.scopes:
            raise ValueError("scopes must contain openid")
        return self


class Trust(_Part):
    """Jobs with these claims are this service account."""

    service_account: Annotated[str, Field(min_length=1)]
    claims: Annotated[dict[str, ClaimPattern], Field(min_length=1)]

    def holds(self, claims: Mapping[str, Any]) -> bool:
        """Say whether a token has all the claims; `*` and `?` in a pattern match `/` too."""
        return all(
            (text := _text(claims.get(name))) is not None and fnmatchcase(text, pattern)
            for name, pattern in self.claims.items()
        )


class Platform(Issuing):
    """A CI platform whose jobs sign in with its tokens."""

    audience: Annotated[Words, Field(min_length=1)]
    trust: Annotated[tuple[Trust, ...], Field(min_length=1)]

    def account_for(self, claims: Mapping[str, Any]) -> str | None:
        """Return the service account of the first entry that a token fits."""
        return next((entry.service_account for entry in self.trust if entry.holds(claims)), None)


class TrustedProxies(_Part):
    """Proxies whose word is taken on where a call comes from; and on who calls, if there is a header."""

    addresses: Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_one_or_many), Field(min_length=1)]
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,60}$")] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(network.prefixlen == 0 for network in self.addresses):
            raise ValueError("addresses: everybody would be a proxy; name your proxies' own addresses")
        if (self.header or "").lower() in ("authorization", "cookie", "host", "origin"):
            raise ValueError(f"header: {self.header} has another meaning; use one such as X-Forwarded-User")
        return self

    def include(self, address: str) -> bool:
        """Say whether an address is one of the proxies'."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None) or found
        return any(mapped in network for network in self.addresses)


class IdentityFile(_Part):
    """The whole file."""

    version: Literal[1]
    providers: tuple[Provider, ...] = ()
    platforms: tuple[Platform, ...] = ()
    trusted_proxies: TrustedProxies | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for what, said in (
            ("issuer", [one.issuer for one in self.issuers]),
            ("name", [provider.name for provider in self.providers]),
        ):
            if len(set(said)) < len(said):
                raise ValueError(f"each {what} stands in the file once; put what differs under one entry")
        return self

    @property
    def issuers(self) -> tuple[Provider | Platform, ...]:
        """Everybody whose tokens are believed."""
        return (*self.providers, *self.platforms)

    def issuing(self, issuer: str) -> Provider | Platform | None:
        """Return the entry of an issuer, compared exactly."""
        return next((one for one in self.issuers if one.issuer == issuer), None)


#: Without a file nobody but ourselves says who is calling.
NO_IDENTITY_FILE = IdentityFile(version=1)


def _text(claim: object) -> str | None:
    if isinstance(claim, bool):
        return str(claim).lower()
    return str(claim) if isinstance(claim, str | int) else None
