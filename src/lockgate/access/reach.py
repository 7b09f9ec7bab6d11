"""Whether somebody has a right on every model that a pattern names."""

from collections.abc import Sequence

from lockgate.access.principals import Principal
from lockgate.access.roles import EVERY_MODEL, PERMISSIONS, Permission


def may_for_all(principal: Principal, rights: Sequence[Permission], pattern: str) -> bool:
    """Say whether somebody has one of these rights on all models that a pattern names.

    Of two patterns it is not asked whether one is within the other: only the same pattern, or all models, will do.

    Args:
        principal: Who.
        rights: The rights, of which one will do.
        pattern: A pattern over model names, or one name.
    """
    # What a token is narrowed to is compared with names: a pattern is within it only if everything is.
    reach = pattern if _is_one(pattern) else None
    allowed = {right for right in rights if principal.token_allows(right, reach)}
    return principal.active and any(
        allowed & PERMISSIONS[binding.role]
        for binding in principal.bindings
        # A pattern with brackets doesn't match its own text, and covers itself all the same.
        if binding.pattern in (EVERY_MODEL, pattern) or (_is_one(pattern) and binding.covers(pattern))
    )


def _is_one(pattern: str) -> bool:
    return not any(character in pattern for character in "*?[")
