"""Whether somebody may do something, and why. Nothing here reads or writes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lockgate.access.caveats import Caveats
from lockgate.access.principals import Principal
from lockgate.access.roles import PERMISSIONS, Permission, least_role, roles_with
from lockgate.access.selectors import Selector, join, matches_any

_ONLY_PEOPLE = {
    Permission.REVIEW: "only people approve and reject",
    Permission.BREAK_GLASS: "only people break the glass",
}


@dataclass(frozen=True)
class Limit:
    """Whom a rule of the policy means; nobody in particular if it names nobody."""

    rule: str
    by: tuple[Selector, ...]


@dataclass(frozen=True)
class Question:
    """May somebody do something?"""

    who: Principal
    permission: Permission
    #: The model's or experiment's name; None: on everything.
    name: str | None = None
    #: Whom rules let do it: all must.
    limits: tuple[Limit, ...] = ()
    #: Whose approval rules count.
    counted: tuple[Limit, ...] = ()
    #: What else stands in the way, a sentence each.
    obstacles: tuple[str, ...] = ()
    #: Their valid tokens that are narrowed, by number.
    tokens: tuple[tuple[int, Caveats], ...] = ()


@dataclass(frozen=True)
class Reason:
    """A sentence that speaks for it, against it, or neither (None)."""

    speaks_for: bool | None
    sentence: str


def explain(question: Question) -> list[Reason]:
    """Return the reasons of the answer. It is no if any speaks against it."""
    return [
        *_standing(question),
        *_roles(question),
        *_limits(question),
        *(Reason(False, obstacle) for obstacle in question.obstacles),
        *_approvals(question),
        *_tokens(question),
    ]


def allows(reasons: Sequence[Reason]) -> bool:
    """Say whether the answer is yes."""
    return all(reason.speaks_for is not False for reason in reasons)


def _standing(question: Question) -> Iterator[Reason]:
    who = question.who
    if not who.active:
        yield Reason(False, f"{who.name} is not active (`lockgate users set {who.name} --active`).")
    if who.is_service and question.permission in _ONLY_PEOPLE:
        yield Reason(False, f"{who.name} is a service account; {_ONLY_PEOPLE[question.permission]}.")


def _roles(question: Question) -> Iterator[Reason]:
    who, permission, name = question.who, question.permission, question.name
    where = f"on '{name}'" if name is not None else "on all models"
    carrying = [binding for binding in who.bindings if permission in PERMISSIONS[binding.role]]
    giving = [binding for binding in carrying if binding.permits(permission, name)]
    for binding in giving:
        yield Reason(True, f"The role {binding} lets {who.name} {permission} {where}.")
    if giving:
        return
    for binding in carrying:
        yield Reason(False, f"The role {binding} carries it, but is bound to '{binding.pattern}': not {where}.")
    if not carrying:
        held = ", ".join(map(str, who.bindings))
        has = f"{who.name} has {held}; none carries it" if held else f"{who.name} has no role"
        pattern = f":{name}" if name is not None else ""
        yield Reason(
            False,
            f"{has}. To {permission} {where} needs the role {roles_with(permission)} "
            f"(`lockgate users add {who.name} --role {least_role(permission)}{pattern}`).",
        )


def _limits(question: Question) -> Iterator[Reason]:
    for limit in question.limits:
        if not limit.by:
            continue
        meant = matches_any(limit.by, question.who, question.name or "")
        which = "is one of them" if meant else "is none of them"
        yield Reason(
            None if meant else False,
            f"Rule '{limit.rule}' lets only {join(limit.by)} {question.permission}: {question.who.name} {which}.",
        )


def _approvals(question: Question) -> Iterator[Reason]:
    """Whoever may review may say so; whether it counts for a rule is another question."""
    for limit in question.counted:
        if not limit.by:
            yield Reason(None, f"Rule '{limit.rule}' counts the approval of any reviewer.")
        elif matches_any(limit.by, question.who, question.name or ""):
            yield Reason(None, f"Rule '{limit.rule}' counts approvals of {join(limit.by)}: {question.who.name} is one.")
        else:
            yield Reason(
                None, f"Rule '{limit.rule}' counts only approvals of {join(limit.by)}, not {question.who.name}'s."
            )


def _tokens(question: Question) -> Iterator[Reason]:
    for number, caveats in question.tokens:
        narrowed = "; ".join(str(caveat) for caveat in caveats)
        reaches = all(caveat.permits(question.permission, question.name) for caveat in caveats)
        yield Reason(None, f"Token {number} is for {narrowed}: with it {'yes' if reaches else 'no'}.")
