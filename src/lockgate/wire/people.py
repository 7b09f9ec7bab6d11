"""Principals, tokens, access as a whole, identities."""

from typing import Annotated

from pydantic import BaseModel, Field

from lockgate.wire.words import Body, Digest, Name, Time


class PrincipalBody(Body):
    """Add a principal, or add to one."""

    name: Name
    kind: Annotated[str | None, Field(pattern="^(user|service)$")] = None
    groups: list[str] = []
    roles: list[str] = []
    password: str | None = None
    owner: Name | None = None


class PrincipalPatch(Body):
    """Replace groups or roles, activate or deactivate."""

    groups: list[str] | None = None
    roles: list[str] | None = None
    active: bool | None = None
    owner: Name | None = None
    same_person_as: Name | None = None


class TokenBody(Body):
    """Make a token; `only` and `only_models` narrow it to actions and patterns of names."""

    principal: Name
    expires: Annotated[str | None, Field(max_length=20)] = None
    only: list[str] = []
    only_models: list[str] = []


class AccessBody(Body):
    """An access file to apply; `expect` is the digest of the plan that was seen."""

    source: str
    prune: bool = False
    dry_run: bool = False
    expect: Digest | None = None


class IdentityBody(Body):
    """Say who somebody is to an OpenID provider."""

    issuer: Name
    subject: Name


class PrincipalView(BaseModel):
    """A principal."""

    name: str
    kind: str
    active: bool
    groups: list[str]
    roles: list[str]
    owner: str | None
    same_person_as: str | None


class MeView(PrincipalView):
    """Who is calling, and what the credential of the call is narrowed to and when it ends."""

    caveats: list["CaveatView"]
    ends_at: Time | None


class PrincipalList(BaseModel):
    """All principals."""

    principals: list[PrincipalView]


class CaveatView(BaseModel):
    """What a token is narrowed to; null narrows nothing. All caveats of a token must permit what it is used for."""

    only: list[str] | None = None
    only_models: list[str] | None = None


class NewTokenView(BaseModel):
    """A new token; the only time that it is shown."""

    id: int
    principal: str
    token: str
    expires_at: Time | None
    caveats: list[CaveatView]


class TokenView(BaseModel):
    """A token that is valid."""

    id: int
    principal: str
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    caveats: list[CaveatView]


class TokenList(BaseModel):
    """Valid tokens, newest first."""

    tokens: list[TokenView]


class AccessView(BaseModel):
    """Who there is and what they may, as a file that can be applied."""

    source: str


class AccessChangeView(BaseModel):
    """What becomes of one principal, a sentence each."""

    principal: str
    changes: list[str]


class AccessPlanView(BaseModel):
    """What applying an access file changes; `applied` says whether it has."""

    changes: list[AccessChangeView]
    left_alone: list[str]
    digest: str
    applied: bool


class ReasonView(BaseModel):
    """One reason of an answer: whether it speaks for it (null: neither), and the sentence."""

    speaks_for: bool | None
    sentence: str


class ExplanationView(BaseModel):
    """Whether somebody may do something, and why."""

    principal: str
    action: str
    model: str | None
    target: str | None
    allowed: bool
    reasons: list[ReasonView]


class IdentityView(BaseModel):
    """Who somebody is to an OpenID provider."""

    name: str
    issuer: str
    subject: str


class IdentityList(BaseModel):
    """Who people are to OpenID providers, by name."""

    identities: list[IdentityView]
