"""The routes over who people are to OpenID providers."""

from typing import Annotated

from fastapi import APIRouter, Query

from lockgate.access.principals import current_caller
from lockgate.wire import IdentityBody, IdentityList, IdentityView
from lockgate.workflow import identities
from lockgate.workflow.stores import stores

router = APIRouter()

_Word = Annotated[str, Query(min_length=1, max_length=256)]


@router.get("/identities")
def list_identities() -> IdentityList:
    """List who people are to OpenID providers, for an admin."""
    found = identities.links(stores().registry.engine, current_caller())
    return IdentityList(identities=[IdentityView(**one) for one in found])


@router.post("/principals/{name}/identities", status_code=201)
def link_identity(name: str, body: IdentityBody) -> IdentityView:
    """Say who somebody is to an OpenID provider."""
    identities.link(stores().registry.engine, current_caller(), name, body.issuer, body.subject)
    return IdentityView(name=name, issuer=body.issuer, subject=body.subject)


@router.delete("/principals/{name}/identities", status_code=204)
def unlink_identity(name: str, issuer: _Word, subject: _Word) -> None:
    """Take an identity from somebody."""
    identities.unlink(stores().registry.engine, current_caller(), name, issuer, subject)
