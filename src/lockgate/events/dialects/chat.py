"""Messages to people: a template renders the JSON that a chat takes. To add a chat, add a template."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lockgate.errors import BadInput
from lockgate.events.dialect import Attempt, Call, Endpoint, Told
from lockgate.events.event import EventType
from lockgate.events.payload import compact, page, payload
from lockgate.events.settings import Setting
from lockgate.events.titles import subject, title
from lockgate.events.wording import cut, facts, gates, line, markdown, sentences

#: Those that come with Lockgate.
TEMPLATES = Path(__file__).parent / "templates"
_SUFFIX = ".json.j2"


@dataclass(frozen=True)
class Chat:
    """Tells an event to people, as a template words it.

    Args:
        name: What the dialect is called.
        template: Renders a JSON object.
    """

    name: str
    template: Template

    EVENTS: ClassVar[tuple[str, ...]] = tuple(EventType)
    SIGNS: ClassVar[bool] = False
    SETTINGS: ClassVar[tuple[Setting, ...]] = ()

    def check(self, endpoint: Endpoint) -> None:
        """Refuse nothing: the address is all that a chat needs."""

    def names(self, told: Told) -> tuple[str, ...]:
        """Return the event's type: it is told as what it is."""
        return (told.type,)

    def call(self, told: Told, name: str, endpoint: Endpoint, attempt: Attempt) -> Call:
        """Return the call that posts the message.

        Raises:
            BadInput: if the template can't be rendered, or renders no JSON object.
        """
        body = compact(self._rendered(told, attempt.base_url))
        return Call(endpoint.url, body, {"Content-Type": "application/json"})

    def _rendered(self, told: Told, base_url: str) -> dict[str, Any]:
        try:
            rendered = json.loads(self.template.render(_shown(told, base_url)))
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise BadInput(f"The template {self.name}{_SUFFIX} gives no JSON for {told.type}: {error}") from None
        if not isinstance(rendered, dict):
            raise BadInput(f"The template {self.name}{_SUFFIX} gives JSON for {told.type} that is no object.")
        return rendered


def read(folder: Path) -> dict[str, Chat]:
    """Return the chats that a folder has templates for, `NAME.json.j2` each.

    Raises:
        BadInput: if there is no such folder, or one of its templates is malformed, naming the line.
    """
    if not folder.is_dir():
        raise BadInput(f"There is no folder {str(folder)!r} to read templates of webhooks from.")
    return {name: _chat(name, path) for path in sorted(folder.glob(f"*{_SUFFIX}")) if (name := _name(path))}


def _name(path: Path) -> str:
    return path.name.removesuffix(_SUFFIX)


def _chat(name: str, path: Path) -> Chat:
    try:
        chat = Chat(name, _environment().from_string(path.read_text("utf-8")))
    except TemplateSyntaxError as error:
        raise BadInput(f"{path}, line {error.lineno}: {error.message}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} can't be read as UTF-8: {error}") from None
    # What is wrong is better known now than when the first event is to be told.
    for told in _TRIALS:
        chat.call(told, told.type, Endpoint("", ""), Attempt("", told.at, ""))
    return chat


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        autoescape=False,  # it is JSON, not HTML: `tojson` quotes, and each chat has a filter of its own
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"slack": slack, "markdown": markdown, "line": line}
    return environment


def _shown(told: Told, base_url: str) -> Mapping[str, Any]:
    """Return what templates can show."""
    return {
        "event": payload(told, base_url),
        "title": title(told),
        "subject": subject(told),
        "facts": facts(told),
        "gates": gates(told),
        "sentences": sentences(told),
        "reason": str(told.data.get("reason", "")),
        "is_about_request": "request_id" in told.data,
        "page": page(told, base_url),
    }


def slack(text: str, most: int = 1_000) -> str:
    """Return what somebody wrote for Slack's mrkdwn: no link, no mention, at most so long when escaped.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    unmentioned = _MENTION.sub("@\N{WORD JOINER}", line(text, most))
    return cut([_IN_SLACK.get(sign, sign) for sign in unmentioned], most)


_MENTION = re.compile(r"@(?=here|channel|everyone)", re.IGNORECASE)
_IN_SLACK = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

_TRIAL_AT = datetime(2026, 1, 1, tzinfo=UTC)
_TRIALS = (
    Told(1, EventType.POLICY_APPLIED, _TRIAL_AT, "default", None, {"actor": "somebody", "outcome": "done"}),
    Told(
        2,
        EventType.PROMOTED,
        _TRIAL_AT,
        "default",
        "a \"model\"\\",
        {
            "actor": "somebody",
            "outcome": "done",
            "model": "a \"model\"\\",
            "version": 2,
            "target": "stage:Production",
            "request_id": 1,
            "before": {"version": 1},
            "after": {"version": 2, "unmet": ["something"], "gates": [{"name": "a", "outcome": "passed"}]},
            "reason": "\"because\"\n",
        },
    ),
)  # fmt: skip
