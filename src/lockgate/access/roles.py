"""Roles, what each of them permits, and the pattern of model names that it is bound to."""

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from lockgate.errors import BadInput


class Permission(StrEnum):
    """One thing that somebody may be allowed to do."""

    READ = "read"
    WRITE = "write"
    ASK = "ask for promotions"
    REPORT_CHECK = "report checks"
    REVIEW = "approve and reject"
    PROMOTE = "carry out promotions"
    ROLL_BACK = "roll back"
    BREAK_GLASS = "break glass"
    GOVERN = "change policies, webhooks and people"
    ADMINISTER = "administer the server"


#: What each may be called for short, where people name actions.
SHORT_NAMES = {
    "read": Permission.READ,
    "write": Permission.WRITE,
    "ask": Permission.ASK,
    "check": Permission.REPORT_CHECK,
    "review": Permission.REVIEW,
    "approve": Permission.REVIEW,
    "reject": Permission.REVIEW,
    "promote": Permission.PROMOTE,
    "rollback": Permission.ROLL_BACK,
    "break-glass": Permission.BREAK_GLASS,
    "govern": Permission.GOVERN,
    "administer": Permission.ADMINISTER,
}
#: For a sentence that says what there is.
ACTIONS = ", ".join(SHORT_NAMES)


def parse_permission(text: str) -> Permission:
    """Read an action from its name or its short one: `carry out promotions`, `promote`.

    Raises:
        BadInput: with the actions that there are.
    """
    if text in set(Permission):
        return Permission(text)
    if text in SHORT_NAMES:
        return SHORT_NAMES[text]
    raise BadInput(f"There is no action {text[:100]!r}. Actions: {ACTIONS}.")


class Role(StrEnum):
    """The seven roles, from least to most."""

    VIEWER = "viewer"
    CONTRIBUTOR = "contributor"
    REVIEWER = "reviewer"
    RELEASER = "releaser"
    OPERATOR = "operator"
    MAINTAINER = "maintainer"
    ADMIN = "admin"


_CONTRIBUTE = frozenset({Permission.READ, Permission.WRITE, Permission.ASK, Permission.REPORT_CHECK})

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.CONTRIBUTOR: _CONTRIBUTE,
    Role.REVIEWER: frozenset({Permission.READ, Permission.REVIEW}),
    Role.RELEASER: frozenset({Permission.READ, Permission.PROMOTE}),
    Role.OPERATOR: frozenset({Permission.READ, Permission.ROLL_BACK, Permission.BREAK_GLASS}),
    Role.MAINTAINER: _CONTRIBUTE | {Permission.GOVERN},
    Role.ADMIN: frozenset(Permission),
}

EVERY_MODEL = "*"
_MAX_PATTERN = 256


@dataclass(frozen=True)
class RoleBinding:
    """A role over the models whose names match a shell-style pattern (`payments-*`), case-sensitively."""

    role: Role
    pattern: str = EVERY_MODEL

    def covers(self, model: str) -> bool:
        """Say whether a model of this name is within the pattern."""
        return fnmatchcase(model, self.pattern)

    def permits(self, permission: Permission, model: str | None) -> bool:
        """Say whether this binding permits something on a model.

        Args:
            permission: What is to be done.
            model: The model's name; None for what concerns all models, which needs an unpatterned binding.
        """
        if permission not in PERMISSIONS[self.role]:
            return False
        return self.pattern == EVERY_MODEL if model is None else self.covers(model)

    def __str__(self) -> str:
        return self.role.value if self.pattern == EVERY_MODEL else f"{self.role}:{self.pattern}"


def parse_binding(text: str) -> RoleBinding:
    """Read a role binding from `ROLE` or `ROLE:PATTERN`.

    Raises:
        BadInput: with the roles that there are.
    """
    role, colon, pattern = text.partition(":")
    if role not in set(Role):
        raise BadInput(f"There is no role {role[:100]!r}. Roles: {', '.join(Role)}.")
    if len(pattern) > _MAX_PATTERN:
        raise BadInput(f"A pattern over model names may have {_MAX_PATTERN} characters.")
    if colon and not pattern:
        raise BadInput(f"'{text}' has a colon and no pattern after it. For all models leave the colon out: '{role}'.")
    return RoleBinding(Role(role), pattern or EVERY_MODEL)


def least_role(permission: Permission) -> Role:
    """Return the first role that carries a permission."""
    return next(role for role in Role if permission in PERMISSIONS[role])


def roles_with(permission: Permission) -> str:
    """Name the roles that carry a permission, for a sentence: `releaser or admin`."""
    return " or ".join(role for role in Role if permission in PERMISSIONS[role])
