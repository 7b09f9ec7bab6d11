"""Principals (people and service accounts), and the one who is calling now."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from lockgate.access.roles import PERMISSIONS, Permission, Role, RoleBinding, least_role, roles_with
from lockgate.errors import Refused, Unauthenticated


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

    @property
    def is_service(self) -> bool:
        """Whether this is a service account."""
        return self.kind is Kind.SERVICE

    def may(self, permission: Permission, model: str | None = None) -> bool:
        """Say whether the principal holds a permission on a model (None: on all models)."""
        return self.active and any(binding.permits(permission, model) for binding in self.bindings)

    def may_somewhere(self, permission: Permission) -> bool:
        """Say whether the principal holds a permission on any model at all."""
        return self.active and any(permission in PERMISSIONS[binding.role] for binding in self.bindings)


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
                f"{self.principal.name} may not {permission} {where}: this needs the role "
                f"{roles_with(permission)}. Ask an administrator for it "
                f"(`lockgate users add {self.principal.name} --role {least_role(permission)}`)."
            )

    def require_somewhere(self, permission: Permission) -> None:
        """Refuse unless the caller holds a permission on at least one model."""
        if not self.principal.may_somewhere(permission):
            raise Refused(
                f"{self.principal.name} may not {permission}: this needs the role {roles_with(permission)}. "
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
