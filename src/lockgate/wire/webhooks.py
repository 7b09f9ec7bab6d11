"""Webhooks, and what is delivered to them."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from lockgate.wire.words import Body, Name, Text, Time, Url

EventName = Annotated[str, Field(min_length=1, max_length=128)]
Dialect = Annotated[str, Field(min_length=1, max_length=64)]
StatusText = Literal["active", "disabled", "failed", "test"]
#: What somebody may make of a webhook; that it has failed is found out.
StatusWanted = Literal["active", "disabled", "test"]
StateText = Literal["waiting", "delivered", "parked"]
Setting = Annotated[str, Field(max_length=4_000)]
Settings = dict[Annotated[str, Field(min_length=1, max_length=100)], Setting]
Secret = Annotated[str, Field(min_length=1, max_length=500)]


class WebhookBody(Body):
    """Tell somebody of events."""

    url: Url
    events: Annotated[list[EventName], Field(min_length=1, max_length=100)] = ["*"]
    dialect: Dialect = "standard"
    models: Name = "*"
    description: Text = ""
    status: StatusWanted = "active"
    verify_certificate: bool = True
    secret: Secret | None = None
    settings: Settings = {}


class WebhookPatch(Body):
    """Change what is given; what is left out stays."""

    url: Url | None = None
    events: Annotated[list[EventName], Field(min_length=1, max_length=100)] | None = None
    models: Name | None = None
    description: Text | None = None
    status: StatusWanted | None = None
    verify_certificate: bool | None = None
    settings: Settings | None = None


class SecretBody(Body):
    """Sign with another secret, made if none is given; with the earlier one too, unless it is to be dropped."""

    secret: Secret | None = None
    drop_earlier: bool = False


class WebhookView(BaseModel):
    """Who is told of what. Its secrets are never shown: secret settings are dots, and most of a chat's URL."""

    id: str
    dialect: str
    url: str
    events: list[str]
    models: str
    description: str
    status: StatusText
    reason: str
    failing_since: Time | None
    verify_certificate: bool
    settings: dict[str, str]
    created_by: str
    created_at: Time
    updated_at: Time


class NewWebhookView(WebhookView):
    """A webhook that was made, or signs with another secret: that is shown this once, and null if there is none."""

    secret: str | None


class WebhookList(BaseModel):
    """Webhooks."""

    webhooks: list[WebhookView]


class DialectView(BaseModel):
    """How webhooks can be told, of what, and which of a webhook's settings are then secret."""

    name: str
    events: list[str]
    secret_settings: list[str]
    url_is_secret: bool


class DialectList(BaseModel):
    """The dialects that the server speaks."""

    dialects: list[DialectView]


class TestBody(Body):
    """Send an example of an event; of the first that the webhook is for, unless another is named."""

    event: EventName | None = None


class AttemptView(BaseModel):
    """One attempt at a delivery."""

    number: int
    at: Time
    status: int | None
    error: str
    milliseconds: int


class TestView(BaseModel):
    """What came of an example. What the receiver answered besides is not shown."""

    status: int | None
    error: str
    milliseconds: int


class DeliveryView(BaseModel):
    """One event, under one name, for one webhook."""

    id: int
    webhook_id: str
    event: str
    model: str | None
    message_id: str
    state: StateText
    attempts: list[AttemptView]
    created_at: Time
    finished_at: Time | None


class CallView(BaseModel):
    """A call as it would be made now, with dots in place of what is secret."""

    method: str
    url: str
    headers: dict[str, str]
    body: str


class WholeDeliveryView(DeliveryView):
    """A delivery with its call; null if it can't be drawn, and why."""

    call: CallView | None
    why_no_call: str


class DeliveryList(BaseModel):
    """A page of deliveries."""

    deliveries: list[DeliveryView]
    next_page_token: str | None = None
