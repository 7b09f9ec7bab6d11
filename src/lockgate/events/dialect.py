"""What a dialect is: how one of our events is said to one kind of receiver, as one HTTP call.

A dialect is pure: who sends the call, when, and how often, is a matter of `lockgate.delivery`. To add one, write a file
in `lockgate.events.dialects` and name it in `lockgate.events.dialects.named`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from lockgate.events.event import EventType

#: As Standard Webhooks advises: what must be larger is to be asked for (https://www.standardwebhooks.com).
MOST_BYTES = 20_000


@dataclass(frozen=True)
class Told:
    """An event as the outbox holds it.

    Attributes:
        id: Its number: also that of its audit entry.
        type: What happened.
        at: When, by the database's clock.
        workspace: MLflow's workspace.
        model: The registered model that it is about, if it is about one.
        data: What `lockgate.events.event.event_of` tells: `actor`, `outcome`, `version`, `target`, `request_id`,
            `before`, `after`, `reason`, as far as there are such.
    """

    id: int
    type: EventType
    at: datetime
    workspace: str
    model: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """Who is told, as a dialect needs to know it.

    Attributes:
        id: Of the webhook.
        url: Where it is told.
        secrets: What calls are signed with, the newest first: more than one while a secret is exchanged.
        settings: What the dialect needs besides, such as a project, a branch or a token; some of it is secret.
    """

    id: str
    url: str
    secrets: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Attempt:
    """One attempt at a delivery.

    Attributes:
        message_id: The same for each attempt, and for no other delivery.
        at: When.
        base_url: How people reach Lockgate, for links; nothing at the end: `https://lockgate.example.com`.
    """

    message_id: str
    at: datetime
    base_url: str


@dataclass(frozen=True)
class Call:
    """An HTTP call that tells of an event."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    method: str = "POST"


class Dialect(Protocol):
    """How one kind of receiver is told.

    A dialect has events of its own, by name; one of ours may be none, one or several of them.
    """

    #: Names of the events that a webhook of this dialect can be for.
    EVENTS: tuple[str, ...]

    def names(self, told: Told) -> tuple[str, ...]:
        """Return which of its events an event is, in the order in which they are told."""

    def call(self, told: Told, name: str, endpoint: Endpoint, attempt: Attempt) -> Call:
        """Return the call that tells of an event under one of its names, signed."""
