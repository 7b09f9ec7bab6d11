"""What a dialect is: how one of our events is said to one kind of receiver, as one HTTP call or e-mail.

A dialect is pure: who sends the call, when, and how often, is a matter of `lockgate.delivery`. To add one, write a file
in `lockgate.events.dialects` and name it in `lockgate.events.dialects.named`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol, runtime_checkable

from lockgate.audit.entry import AuditOutcome
from lockgate.events.event import EventType
from lockgate.events.settings import Setting

#: As Standard Webhooks advises: what must be larger is to be asked for (https://www.standardwebhooks.com).
MOST_BYTES = 20_000

#: The tag that makes a registered model, or a version as it is made, one of MLflow's prompts.
PROMPT_MARKER = "mlflow.prompt.is_prompt"


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

    @property
    def was_refused(self) -> bool:
        """Whether it tells of something that somebody tried and was refused: nothing has changed."""
        return bool(self.data.get("outcome") == AuditOutcome.REFUSED)

    @property
    def before(self) -> Mapping[str, Any]:
        """What was before, as far as the event tells."""
        return dict(self.data.get("before", {}))

    @property
    def after(self) -> Mapping[str, Any]:
        """What is afterwards, as far as the event tells."""
        return dict(self.data.get("after", {}))

    @property
    def is_prompt(self) -> bool:
        """Whether it is about one of MLflow's prompts, which are kept as registered models."""
        is_new = self.type in (EventType.MODEL_CREATED, EventType.VERSION_CREATED)
        tags = self.after.get("tags", {}) if is_new else {}
        return bool(self.after.get("is_prompt")) or str(tags.get(PROMPT_MARKER, "")).lower() == "true"


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
        base_url: How people reach Lockgate, for links, without a slash at the end: `https://lockgate.example.com`.
            Empty if nobody said; then there are no links.
        remembered: What a dialect that remembers (`Remembering`) has learnt about what the event is about, if anything.
    """

    message_id: str
    at: datetime
    base_url: str
    remembered: str = ""


@dataclass(frozen=True)
class Call:
    """An HTTP call that tells of an event."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    method: str = "POST"


@dataclass(frozen=True)
class Mail:
    """An e-mail that tells of an event. From whom, and by which relay, is the operator's to say.

    Attributes:
        to: The addresses.
        subject: One line.
        text: What it says.
        message_id: The same for each attempt.
        at: When the event happened.
    """

    to: tuple[str, ...]
    subject: str
    text: str
    message_id: str
    at: datetime


class Dialect(Protocol):
    """How one kind of receiver is told.

    A dialect has events of its own, by name; one of ours may be none, one or several of them.
    """

    #: Names of the events that a webhook of this dialect can be for.
    EVENTS: ClassVar[tuple[str, ...]]
    #: The settings that an endpoint can have; others are refused before `check` sees it.
    SETTINGS: ClassVar[tuple[Setting, ...]]
    #: Whether calls are signed with the endpoint's secrets.
    SIGNS: ClassVar[bool]

    def check(self, endpoint: Endpoint) -> None:
        """Refuse an endpoint that can't be told in this dialect.

        Raises:
            BadInput: saying what is missing or malformed.
        """

    def names(self, told: Told) -> tuple[str, ...]:
        """Return which of its events an event is, in the order in which they are told.

        A change of several versions is told of each: what is about another version than the event says has its number
        behind a colon, `MODEL_VERSION_TRANSITIONED_TO_ARCHIVED:2`. See `event_named`.
        """

    def call(self, told: Told, name: str, endpoint: Endpoint, attempt: Attempt) -> Call | Mail:
        """Return the call that tells of an event under one of its names, signed; or the e-mail."""


@runtime_checkable
class Remembering(Protocol):
    """A dialect that goes on with something that the receiver has answered: the number of a ticket, say.

    What it has learnt is kept for each webhook and subject, and comes back as `Attempt.remembered`.
    """

    def subject(self, told: Told) -> str | None:
        """Return what an event is about, as far as something is remembered about it: at most 64 characters."""

    def learn(self, told: Told, answer: bytes) -> str | None:
        """Return what is to be remembered of what a receiver answered when it took the call; None for nothing.

        It is the receiver's word: whatever is not exactly as expected is nothing. At most 256 characters.
        """


def event_named(name: str) -> str:
    """Return which of a dialect's `EVENTS` a name is that `Dialect.names` gave: that is what webhooks are for."""
    return name.partition(":")[0]
