"""From values about people to the JSON shapes of `wire`."""

from lockgate.access.caveats import Caveats, as_data
from lockgate.access.explain import Reason, allows
from lockgate.access.plan import Plan
from lockgate.access.principals import Principal
from lockgate.database.people import Token
from lockgate.wire.people import (
    AccessChangeView,
    AccessPlanView,
    CaveatView,
    ExplanationView,
    MeView,
    PrincipalView,
    ReasonView,
    TokenView,
)
from lockgate.workflow.explained import Asked


def principal(known: Principal) -> PrincipalView:
    """Show a principal."""
    return PrincipalView(
        name=known.name,
        kind=known.kind,
        active=known.active,
        groups=sorted(known.groups),
        roles=sorted(str(binding) for binding in known.bindings),
        owner=known.owner,
        same_person_as=known.same_as,
    )


def me(caller: Principal) -> MeView:
    """Show who is calling, by what."""
    return MeView(**principal(caller).model_dump(), caveats=caveats(caller.caveats), ends_at=caller.ends_at)


def token(known: Token) -> TokenView:
    """Show what is known of a token."""
    return TokenView(
        id=known.id,
        principal=known.principal,
        created_at=known.created_at,
        expires_at=known.expires_at,
        last_used_at=known.last_used_at,
        caveats=caveats(known.caveats),
    )


def caveats(of_token: Caveats) -> list[CaveatView]:
    """Show what a token is narrowed to."""
    return [CaveatView.model_validate(as_data(caveat)) for caveat in of_token]


def access_plan(planned: Plan, applied: bool) -> AccessPlanView:
    """Show what an access file changes."""
    return AccessPlanView(
        changes=[AccessChangeView(principal=change.name, changes=change.sentences) for change in planned.changes],
        left_alone=list(planned.left_alone),
        digest=planned.digest,
        applied=applied,
    )


def explanation(asked: Asked, reasons: list[Reason]) -> ExplanationView:
    """Show whether somebody may do something, and why."""
    return ExplanationView(
        principal=asked.who,
        action=asked.permission,
        model=asked.model,
        target=str(asked.target) if asked.target else None,
        allowed=allows(reasons),
        reasons=[ReasonView(speaks_for=reason.speaks_for, sentence=reason.sentence) for reason in reasons],
    )
