"""Principals (people and service accounts), and the one who is calling now."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lockgate.access.caveats import Caveats
from lockgate.access.roles import PERMISSIONS, Permission, Role, RoleBinding, least_role, roles_with
from lockgate.errors import Refused, Unauthenticated

#: What principals and groups may be called.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")


class Kind(StrEnum):
    """What a principal is."""

    USER = "user"
    SERVICE = "service"


@dataclass(frozen=True)
class Principal:
    """A user or a service account, with its standing at this moment."""

    id: int
    name: str
    kind: Kind = Kind.USER
    active: bool = True
    groups: frozenset[str] = frozenset()
    bindings: tuple[RoleBinding, ...] = ()
    #: Name of the person who answers for a service account.
    owner: str | None = None
    #: Name of the first account of the human behind this one: their own, or of the owner of a service account.
    human: str | None = None
    #: The token that this call was made with, and what it is narrowed to.
    token_id: int | None = None
    caveats: Caveats = ()
    #: When what this call was made with ends; None if it doesn't by itself.
    ends_at: datetime | None = None
    #: Whether a CI platform vouches for the call: it gives each job a credential of its own.
    is_job: bool = False

    @property
    def person(self) -> str:
        """Name that stands for the human behind this account, however many accounts they have."""
        return self.human or self.owner or self.name

    @property
    def same_as(self) -> str | None:
        """Name of the account beside which this is a second one of the same person."""
        return None if self.is_service or self.person == self.name else self.person

    @property
    def is_service(self) -> bool:
        """Whether this is a service account."""
        return self.kind is Kind.SERVICE

    def may(self, permission: Permission, model: str | None = None) -> bool:
        """Say whether the principal holds a permission on a model (None: on all models), and the token allows it."""
        held = self.active and any(binding.permits(permission, model) for binding in self.bindings)
        return held and self.token_allows(permission, model)

    def may_somewhere(self, permission: Permission) -> bool:
        """Say whether the principal holds a permission on any model at all, and the token allows it."""
        held = self.active and any(permission in PERMISSIONS[binding.role] for binding in self.bindings)
        return held and all(caveat.permits_somewhere(permission) for caveat in self.caveats)

    def token_allows(self, permission: Permission, model: str | None = None) -> bool:
        """Say whether the token of this call reaches so far. For what one may do without a role, such as taking back
        what is one's own, this alone is to be asked."""
        return all(caveat.permits(permission, model) for caveat in self.caveats)

    def needs(self, permission: Permission) -> str:
        """Say what the principal would need for a permission that it does not hold: a clause."""
        if self.caveats:
            narrowed = "; ".join(str(caveat) for caveat in self.caveats)
            return f"this needs the role {roles_with(permission)}, and the token that is used allows {narrowed}"
        return f"this needs the role {roles_with(permission)}"


@dataclass(frozen=True)
class Caller:
    """The principal behind one call, and where the call came from."""

    principal: Principal
    address: str = ""
    #: Scheme, host and prefix that the caller used, for links in answers: `http://localhost:5000`.
    base_url: str = ""

    def require(self, permission: Permission, model: str | None = None) -> None:
        """Refuse unless the caller holds a permission on a model (None: on all models).

        Raises:
            Refused: with the roles that would do.
        """
        if not self.principal.may(permission, model):
            where = f"on '{model}'" if model is not None else "on all models"
            raise Refused(
                f"{self.principal.name} may not {permission} {where}: {self.principal.needs(permission)}. "
                f"Ask an administrator for it "
                f"(`lockgate users add {self.principal.name} --role {least_role(permission)}`)."
            )

    def require_somewhere(self, permission: Permission) -> None:
        """Refuse unless the caller holds a permission on at least one model."""
        if not self.principal.may_somewhere(permission):
            raise Refused(
                f"{self.principal.name} may not {permission}: {self.principal.needs(permission)}. "
                f"Ask an administrator for it "
                f"(`lockgate users add {self.principal.name} --role {least_role(permission)}`)."
            )


#: Lockgate itself, where nobody called: when a server starts, when a request expires.
LOCKGATE = Caller(Principal(0, "lockgate", Kind.SERVICE, bindings=(RoleBinding(Role.ADMIN),)))

_caller: ContextVar[Caller | None] = ContextVar("lockgate_caller", default=None)


def current_caller() -> Caller:
    """Return who is calling.

    Raises:
        Unauthenticated: if the code runs outside a call that the edge has authenticated.
    """
    caller = _caller.get()
    if caller is None:
        raise Unauthenticated("Nobody known is calling. Send a token (MLFLOW_TRACKING_TOKEN) or sign in.")
    return caller


@contextmanager
def calling(caller: Caller) -> Iterator[None]:
    """Make `caller` the one who is calling for the duration of the block."""
    token = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(token)
