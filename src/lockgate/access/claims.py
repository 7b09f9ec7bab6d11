"""What an OpenID provider says of somebody, turned into what it means here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockgate.access.identity import Provider
from lockgate.access.principals import Principal
from lockgate.access.roles import RoleBinding


@dataclass(frozen=True)
class Claimed:
    """Somebody as a provider knows them. Issuer and subject say who; the rest is only said about them."""

    issuer: str
    subject: str
    #: What they would be called here.
    name: str
    groups: frozenset[str]
    bindings: tuple[RoleBinding, ...]


def claimed(provider: Provider, claims: Mapping[str, Any]) -> Claimed:
    """Read the claims of a token that was found valid. Only groups that the file maps mean anything."""
    said = claims.get(provider.groups_claim)
    name = claims.get(provider.name_claim)
    theirs = [group for group in (said if isinstance(said, list) else [said]) if isinstance(group, str)]
    return Claimed(
        provider.issuer,
        str(claims["sub"]),
        name if isinstance(name, str) else "",
        frozenset(ours for group in theirs for ours in provider.groups.get(group, ())),
        tuple(dict.fromkeys(binding for group in theirs for binding in provider.roles.get(group, ()))),
    )


def standing(provider: Provider, known: Principal, said: Claimed) -> tuple[frozenset[str], tuple[RoleBinding, ...]]:
    """Return the groups and role bindings that somebody has from now on.

    What the provider's mapping names is the provider's to give and to take; all else stays as administrators set it.
    """
    its_groups = {group for given in provider.groups.values() for group in given}
    its_bindings = {binding for given in provider.roles.values() for binding in given}
    kept = tuple(binding for binding in known.bindings if binding not in its_bindings)
    return (known.groups - its_groups) | said.groups, (*kept, *said.bindings)
