"""The routes over people: principals, tokens, access as a whole, who people are to OpenID providers."""

from datetime import timedelta
from typing import Annotated

from fastapi import Query, Response
from pydantic import TypeAdapter, ValidationError

from lockgate.access.caveats import caveats_of
from lockgate.access.principals import Kind
from lockgate.access.roles import parse_binding, parse_permission
from lockgate.errors import BadInput
from lockgate.gates.policy import Duration
from lockgate.promotions.target import Target
from lockgate.server import people_view
from lockgate.server.calls import Calling, House
from lockgate.server.once import OnceRouter
from lockgate.wire.people import (
    AccessBody,
    AccessPlanView,
    AccessView,
    ExplanationView,
    IdentityBody,
    IdentityList,
    IdentityView,
    MeView,
    NewTokenView,
    PrincipalBody,
    PrincipalList,
    PrincipalPatch,
    PrincipalView,
    TokenBody,
    TokenList,
)
from lockgate.wire.words import Name, RowId
from lockgate.workflow import access, explained, identities, people, signing_in, tokens
from lockgate.workflow.people import NewPrincipal, Replacement

MAX_LIFETIME = timedelta(days=3650)

router = OnceRouter()
_duration: TypeAdapter[Duration] = TypeAdapter(Duration)
_Word = Annotated[str, Query(min_length=1, max_length=256)]


# Principals and tokens


@router.get("/principals")
def list_principals(house: House, caller: Calling) -> PrincipalList:
    """List principals."""
    return PrincipalList(
        principals=[people_view.principal(known) for known in people.everybody(house.registry.engine, caller)]
    )


@router.get("/me")
def show_me(caller: Calling) -> MeView:
    """Show who is calling."""
    return people_view.me(caller.principal)


@router.post("/principals", status_code=201)
def add_principal(body: PrincipalBody, house: House, caller: Calling, response: Response) -> PrincipalView:
    """Add a principal, or add groups and roles to one that is there (200)."""
    new = NewPrincipal(
        name=body.name,
        kind=Kind(body.kind) if body.kind else None,
        groups=tuple(body.groups),
        bindings=tuple(parse_binding(role) for role in body.roles),
        password=body.password,
        owner=body.owner,
    )
    known, is_new = people.add(house.registry.engine, caller, new)
    response.status_code = 201 if is_new else 200
    return people_view.principal(known)


@router.patch("/principals/{name}")
def change_principal(name: str, body: PrincipalPatch, house: House, caller: Calling) -> PrincipalView:
    """Replace a principal's groups or roles, activate or deactivate it."""
    wanted = Replacement(
        groups=tuple(body.groups) if body.groups is not None else None,
        bindings=tuple(parse_binding(role) for role in body.roles) if body.roles is not None else None,
        active=body.active,
        owner=body.owner,
        same_person_as=body.same_person_as,
    )
    return people_view.principal(people.change(house.registry.engine, caller, name, wanted))


@router.delete("/principals/{name}/sessions", status_code=204)
def end_sessions(name: str, house: House, caller: Calling) -> None:
    """Sign somebody out of all browsers. Their tokens stay."""
    signing_in.sign_out_everywhere(house.registry.engine, caller, name)


@router.get("/tokens")
def list_tokens(house: House, caller: Calling) -> TokenList:
    """List valid tokens: one's own, or all for an admin."""
    return TokenList(tokens=[people_view.token(token) for token in tokens.valid(house.registry.engine, caller)])


@router.post("/tokens", status_code=201)
def create_token(body: TokenBody, house: House, caller: Calling) -> NewTokenView:
    """Make a token. It is shown here and never again."""
    try:
        lifetime = _duration.validate_python(body.expires) if body.expires is not None else None
    except ValidationError as error:
        raise BadInput(f"expires: {error.errors()[0]['ctx']['error']}.") from None
    if lifetime is not None and lifetime > MAX_LIFETIME:
        raise BadInput(f"expires: at most {MAX_LIFETIME.days}d.")
    caveats = caveats_of(body.only, body.only_models)
    made = tokens.create(house.registry.engine, caller, body.principal, lifetime, caveats)
    return NewTokenView(
        id=made.id,
        principal=body.principal,
        token=made.token,
        expires_at=made.expires_at,
        caveats=people_view.caveats(made.caveats),
    )


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(token_id: RowId, house: House, caller: Calling) -> None:
    """Make a token invalid."""
    tokens.revoke(house.registry.engine, caller, token_id)


# Access as a whole


@router.get("/access")
def get_access(house: House, caller: Calling) -> AccessView:
    """Show who there is and what they may, as a file that can be applied."""
    return AccessView(source=access.export(house.registry.engine, caller))


@router.put("/access")
def put_access(body: AccessBody, house: House, caller: Calling) -> AccessPlanView:
    """Make an access file so, all of it or nothing; with `dry_run`, only say what would change."""
    wanted = access.Application(body.source, body.prune, body.dry_run, body.expect)
    return people_view.access_plan(access.apply(house.registry.engine, caller, wanted), not body.dry_run)


@router.get("/access/explain")
def explain_access(
    house: House,
    caller: Calling,
    principal: Name,
    action: str,
    model: Name | None = None,
    target: str | None = None,
    request: RowId | None = None,
) -> ExplanationView:
    """Say whether somebody may do something, and why."""
    asked = explained.Asked(
        who=principal,
        permission=parse_permission(action),
        model=model,
        target=Target.parse(target) if target is not None else None,
        request_id=request,
    )
    return people_view.explanation(*explained.answer(house, caller, asked))


# Identities


@router.get("/identities")
def list_identities(house: House, caller: Calling) -> IdentityList:
    """List who people are to OpenID providers, for an admin."""
    found = identities.links(house.registry.engine, caller)
    return IdentityList(identities=[IdentityView(**one) for one in found])


@router.post("/principals/{name}/identities", status_code=201)
def link_identity(name: str, body: IdentityBody, house: House, caller: Calling) -> IdentityView:
    """Say who somebody is to an OpenID provider."""
    identities.link(house.registry.engine, caller, name, body.issuer, body.subject)
    return IdentityView(name=name, issuer=body.issuer, subject=body.subject)


@router.delete("/principals/{name}/identities", status_code=204)
def unlink_identity(name: str, issuer: _Word, subject: _Word, house: House, caller: Calling) -> None:
    """Take an identity from somebody."""
    identities.unlink(house.registry.engine, caller, name, issuer, subject)
