"""Explaining access: whether somebody may do something to a model, and why."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from lockgate.access.caveats import Caveats
from lockgate.access.explain import Limit, Question, Reason, explain
from lockgate.access.principals import Caller, Principal
from lockgate.access.roles import Permission
from lockgate.access.selectors import Selector
from lockgate.database import people, policies, requests
from lockgate.database.engine import now
from lockgate.decisions.verdict import uncovered
from lockgate.errors import BadInput, NotFound
from lockgate.gates.policy import Policy, Rule
from lockgate.promotions.request import PromotionRequest
from lockgate.promotions.target import Target
from lockgate.registry.transaction import reading
from lockgate.workflow.case import request_named
from lockgate.workflow.matter import exclusions
from lockgate.workflow.stores import Stores


@dataclass(frozen=True)
class Asked:
    """What is asked: may they do it, to this model and target, about this request?"""

    who: str
    permission: Permission
    model: str | None = None
    target: Target | None = None
    request_id: int | None = None


def answer(stores: Stores, caller: Caller, asked: Asked) -> tuple[Asked, list[Reason]]:
    """Say whether somebody may do something, and why.

    Returns:
        What was asked, with model and target of the request if it is about one; and the reasons.

    Raises:
        NotFound: if there is no such principal or request.
        BadInput: if the target is asked about without a model, or the request is about another one.
    """
    caller.require_somewhere(Permission.READ)
    request = request_named(stores, asked.request_id) if asked.request_id is not None else None
    with reading(stores.registry.engine) as session:
        who = people.find(session, asked.who)
        if who is None:
            raise NotFound(f"There is no principal {asked.who[:100]!r}. `lockgate users list` shows who there is.")
        about = _about(asked, request)
        version = policies.of_version(session, request.policy_version) if request else policies.current(session)
        policy = version.policy
        excluded = _excluded(session, who, about.permission, request)
        tokens = _narrowed_tokens(session, caller, who)
    rules = policy.rules_for(about.model, about.target) if about.model is not None and about.target else ()
    question = Question(
        who=who,
        permission=about.permission,
        name=about.model,
        limits=_limits(rules, about.permission),
        counted=_counted(rules, about.permission),
        obstacles=(*_closed(policy, about), *excluded),
        tokens=tokens,
    )
    return about, explain(question)


def _about(asked: Asked, request: PromotionRequest | None) -> Asked:
    if request is not None:
        if asked.model not in (None, request.model) or asked.target not in (None, request.target):
            raise BadInput(f"Promotion request {request.id} is about {request.target} of '{request.model}'.")
        return Asked(asked.who, asked.permission, request.model, request.target, request.id)
    if asked.target is not None and asked.model is None:
        raise BadInput("A target is a model's: name the model too.")
    return asked


def _excluded(
    session: Session, who: Principal, permission: Permission, request: PromotionRequest | None
) -> tuple[str, ...]:
    if request is None or permission is not Permission.REVIEW:
        return ()
    why = exclusions(session, request.requester, requests.evidence(session, request.id)).get(who.name)
    return (f"{who.name} {why}, and nobody approves their own work (request {request.id}).",) if why else ()


def _narrowed_tokens(session: Session, caller: Caller, who: Principal) -> tuple[tuple[int, Caveats], ...]:
    """Return tokens that are narrowed, if the caller may know of them."""
    if who.id != caller.principal.id and not caller.principal.may(Permission.ADMINISTER):
        return ()
    valid = people.valid_tokens(session, now(session), who.name)
    return tuple((token.id, token.caveats) for token in valid if token.caveats)


_BY: dict[Permission, Callable[[Rule], tuple[Selector, ...] | None]] = {
    Permission.PROMOTE: lambda rule: rule.promote.by if rule.promote else None,
    Permission.ROLL_BACK: lambda rule: rule.rollback.by if rule.rollback else None,
    Permission.BREAK_GLASS: lambda rule: rule.break_glass.by if rule.break_glass else None,
}


def _limits(rules: tuple[Rule, ...], permission: Permission) -> tuple[Limit, ...]:
    of = _BY.get(permission)
    return tuple(Limit(rule.name, of(rule) or ()) for rule in rules) if of is not None else ()


def _counted(rules: tuple[Rule, ...], permission: Permission) -> tuple[Limit, ...]:
    if permission is not Permission.REVIEW:
        return ()
    return tuple(Limit(rule.name, demand.from_) for rule in rules for demand in rule.approvals if demand.required)


def _closed(policy: Policy, about: Asked) -> tuple[str, ...]:
    if about.model is None or about.target is None:
        return ()
    if about.permission is Permission.WRITE and policy.protects(about.target):
        return (f"{about.target} is protected: it moves only by an approved promotion request (`lockgate request`).",)
    is_about_moving = about.permission in (Permission.ASK, Permission.PROMOTE, Permission.BREAK_GLASS)
    closed = uncovered(policy, about.model, about.target) if is_about_moving else None
    return (closed,) if closed else ()
