"""Selectors of a policy file that name principals: `group:senior`, `user:ada`, `service:bot`, `role:operator`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lockgate.access.principals import Kind, Principal
from lockgate.access.roles import Role
from lockgate.errors import BadInput

SelectorKind = Literal["group", "user", "service", "role"]
_KINDS: tuple[SelectorKind, ...] = ("group", "user", "service", "role")


@dataclass(frozen=True)
class Selector:
    """One selector; it matches principals by name, group or role."""

    kind: SelectorKind
    name: str

    @classmethod
    def parse(cls, text: str) -> "Selector":
        """Read a selector from `kind:name`.

        Raises:
            BadInput: with the kinds that there are.
        """
        prefix, _, name = text.partition(":")
        for kind in _KINDS:
            if prefix == kind and name:
                if kind == "role" and name not in set(Role):
                    raise BadInput(f"There is no role '{name}'. Roles: {', '.join(Role)}.")
                return cls(kind, name)
        raise BadInput(
            f"'{text}' names nobody. Write group:NAME, user:NAME, service:NAME or role:ROLE (roles: {', '.join(Role)})."
        )

    def matches(self, principal: Principal, model: str) -> bool:
        """Say whether a principal is meant, on a model of this name."""
        match self.kind:
            case "group":
                return self.name in principal.groups
            case "user":
                return principal.kind is Kind.USER and principal.name == self.name
            case "service":
                return principal.kind is Kind.SERVICE and principal.name == self.name
            case "role":
                return any(binding.role == self.name and binding.covers(model) for binding in principal.bindings)

    def names_any(self, principals: Iterable[Principal]) -> bool:
        """Say whether there is anybody of these whom it means on any model at all."""
        if self.kind == "role":
            return any(binding.role == self.name for principal in principals for binding in principal.bindings)
        return any(self.matches(principal, "") for principal in principals)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def matches_any(selectors: tuple[Selector, ...], principal: Principal, model: str) -> bool:
    """Say whether any of the selectors means this principal on a model of this name."""
    return any(selector.matches(principal, model) for selector in selectors)


def join(selectors: tuple[Selector, ...]) -> str:
    """Name selectors in a sentence: `group:senior or user:ada`."""
    return " or ".join(str(selector) for selector in selectors)
