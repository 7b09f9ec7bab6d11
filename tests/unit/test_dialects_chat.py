"""Messages to people: Slack, Teams, and chats that somebody adds by a template."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import validate

from lockgate.errors import BadInput
from lockgate.events.dialect import Endpoint, Told
from lockgate.events.dialects.chat import slack
from lockgate.events.dialects.named import dialects
from lockgate.events.event import EventType
from lockgate.events.titles import TITLES
from lockgate.events.wording import line, markdown
from tests.told import ATTEMPT, PROMOTION, told

#: https://docs.slack.dev/reference/block-kit/composition-objects/text-object
MRKDWN = {
    "type": "object",
    "required": ["type", "text", "verbatim"],
    "properties": {
        "type": {"const": "mrkdwn"},
        "text": {"type": "string", "minLength": 1, "maxLength": 3000},
        "verbatim": {"const": True},
    },
    "additionalProperties": False,
}
#: https://docs.slack.dev/reference/block-kit/blocks/section-block and .../block-elements/button-element
SLACK = {
    "type": "object",
    "required": ["text", "blocks"],
    "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 40_000},
        "blocks": {
            "type": "array",
            "maxItems": 50,
            "items": {
                "oneOf": [
                    {
                        "required": ["type", "text"],
                        "properties": {"type": {"const": "section"}, "text": MRKDWN},
                        "additionalProperties": False,
                    },
                    {
                        "required": ["type", "fields"],
                        "properties": {
                            "type": {"const": "section"},
                            "fields": {"type": "array", "minItems": 1, "maxItems": 10, "items": MRKDWN},
                        },
                        "additionalProperties": False,
                    },
                    {
                        "required": ["type", "elements"],
                        "properties": {
                            "type": {"const": "actions"},
                            "elements": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 25,
                                "items": {
                                    "required": ["type", "text"],
                                    "properties": {
                                        "type": {"const": "button"},
                                        "url": {"type": "string", "maxLength": 3000, "pattern": "^https://"},
                                        "text": {
                                            "properties": {
                                                "type": {"const": "plain_text"},
                                                "text": {"type": "string", "maxLength": 75},
                                            },
                                        },
                                    },
                                    "additionalProperties": False,
                                },
                            },
                        },
                        "additionalProperties": False,
                    },
                ]
            },
        },
    },
    "additionalProperties": False,
}
#: https://adaptivecards.io/explorer/RichTextBlock.html, .../TextRun.html, .../Action.OpenUrl.html, in the envelope of
#: https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
TEAMS = {
    "type": "object",
    "required": ["type", "attachments"],
    "properties": {
        "type": {"const": "message"},
        "attachments": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "required": ["contentType", "content"],
                "properties": {
                    "contentType": {"const": "application/vnd.microsoft.card.adaptive"},
                    "contentUrl": {"type": "null"},
                    "content": {
                        "required": ["type", "version", "body"],
                        "properties": {
                            "$schema": {"const": "http://adaptivecards.io/schemas/adaptive-card.json"},
                            "type": {"const": "AdaptiveCard"},
                            "version": {"enum": ["1.2", "1.3", "1.4", "1.5"]},
                            "body": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "required": ["type", "inlines"],
                                    "properties": {
                                        "type": {"const": "RichTextBlock"},
                                        "spacing": {"enum": ["small"]},
                                        "inlines": {
                                            "type": "array",
                                            "items": {
                                                "required": ["type", "text"],
                                                "properties": {
                                                    "type": {"const": "TextRun"},
                                                    "text": {"type": "string"},
                                                    "size": {"enum": ["large"]},
                                                    "weight": {"enum": ["bolder"]},
                                                    "italic": {"type": "boolean"},
                                                },
                                                "additionalProperties": False,
                                            },
                                        },
                                    },
                                    "additionalProperties": False,
                                },
                            },
                            "actions": {
                                "type": "array",
                                "items": {
                                    "required": ["type", "url", "title"],
                                    "properties": {
                                        "type": {"const": "Action.OpenUrl"},
                                        "url": {"type": "string", "pattern": "^https://"},
                                        "title": {"type": "string"},
                                    },
                                    "additionalProperties": False,
                                },
                            },
                        },
                        "additionalProperties": False,
                    },
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
SHAPES = {"slack": SLACK, "teams": TEAMS}
MOST_OF_TEAMS = 28 * 1024
ENDPOINT = Endpoint("hook-1", "https://hooks.example.com/services/T/B/X")


def message(chat: str, event: Told) -> dict[str, Any]:
    call = dialects()[chat].call(event, event.type, ENDPOINT, ATTEMPT)
    assert (call.url, call.headers) == (ENDPOINT.url, {"Content-Type": "application/json"})
    assert len(call.body) <= MOST_OF_TEAMS
    body = json.loads(call.body)
    validate(body, SHAPES[chat])
    return dict(body)


def texts(value: Any) -> list[str]:
    """Return all texts that a message shows."""
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    if isinstance(value, dict):
        return [
            text
            for key, one in value.items()
            for text in ([one] if key == "text" and isinstance(one, str) else texts(one))
        ]
    return []


@pytest.mark.parametrize("chat", SHAPES)
@pytest.mark.parametrize("event", EventType)
def test_every_event_is_a_message_as_the_chat_documents_it(chat: str, event: EventType) -> None:
    for full in (told(event, model=None), told(event, version=1, target="alias:a", request_id=1, reason="because")):
        assert any(TITLES[event] in text for text in texts(message(chat, full)))


@pytest.mark.parametrize("chat", SHAPES)
def test_a_promotion_says_what_changed_who_did_it_and_where_to_look(chat: str) -> None:
    body = message(chat, PROMOTION)
    shown = " ".join(texts(body))
    for part in ("Promotion", "version 3 of 'fraud' → stage:Production", "bot", "2 → 3", "better on all counts"):
        assert part in shown
    assert '"https://gate.example.com/lockgate/requests/7"' in json.dumps(body)


@pytest.mark.parametrize("chat", SHAPES)
def test_where_nobody_said_how_people_get_here_there_is_no_button(chat: str) -> None:
    nowhere = replace(ATTEMPT, base_url="")
    body = json.loads(dialects()[chat].call(PROMOTION, PROMOTION.type, ENDPOINT, nowhere).body)
    validate(body, SHAPES[chat])
    assert "/lockgate/" not in json.dumps(body)


@pytest.mark.parametrize("chat", SHAPES)
def test_what_is_missing_is_shown_one_by_one(chat: str) -> None:
    unmet = [f"Gate 'g{number}' failed." for number in range(12)]
    body = message(chat, told(EventType.WOULD_REFUSE, version=3, target="alias:a", after={"unmet": unmet}))
    shown = texts(body)
    assert [text for text in shown if "failed" in text] == [f"• {one}" for one in unmet[:10]]
    assert "• And 2 more." in shown


@pytest.mark.parametrize("chat", SHAPES)
def test_a_refusal_says_so(chat: str) -> None:
    refused = told(EventType.ROLLED_BACK, target="alias:champion", outcome="refused", reason="No role.")
    assert any("Rollback, refused" in text for text in texts(message(chat, refused)))


BAIT = "<!channel> <@U1> <https://evil.example|click> & @here\n*[click](https://evil.example)* \u202e</at>"


def test_what_people_wrote_makes_no_mention_and_no_link_in_slack() -> None:
    baited = told(
        model=BAIT, version=1, target=f"alias:{BAIT}", actor=BAIT, reason=BAIT, after={"version": 1, "ticket": BAIT}
    )
    body = message("slack", baited)
    for text in texts(body):
        assert "<" not in text
        assert "@here" not in text
        assert "\u202e" not in text
    assert any("&lt;!channel&gt; &lt;@U1&gt;" in text for text in texts(body))


def test_what_people_wrote_is_shown_as_it_is_in_teams() -> None:
    # No block of text, no fact: runs of text know no Markdown, and a mention needs an entity.
    assert any(BAIT.partition("\n")[0] in text for text in texts(message("teams", told(model=BAIT, reason=BAIT))))


@pytest.mark.parametrize("chat", SHAPES)
def test_a_message_is_never_too_long(chat: str) -> None:
    long = "<é&>" * 5_000
    message(chat, told(model=long, version=1, target=long, actor=long, reason=long, after={"ticket": long}))
    message(chat, told(model=long, version=1, target=long, actor=long, after={"unmet": [long] * 50}))


@given(text=st.text(), most=st.integers(2, 50))
def test_escaped_text_is_as_long_as_it_may_be_and_ends_in_no_half_an_escape(text: str, most: int) -> None:
    assert max(len(line(text, most)), len(slack(text, most)), len(markdown(text, most))) <= most
    assert "<" not in slack(text, most)
    assert slack(text, most).count("&") == sum(slack(text, most).count(one) for one in ("&amp;", "&lt;", "&gt;"))
    assert not markdown(text, most).replace("\\\\", "").endswith("\\")


def test_markdown_is_escaped_for_those_who_show_it() -> None:
    assert markdown("[a](b) *c*") == r"\[a\]\(b\) \*c\*"


# What somebody adds


def test_a_template_in_a_folder_is_a_dialect(tmp_path: Path) -> None:
    (tmp_path / "mychat.json.j2").write_text('{"say": {{ (title ~ " " ~ event.data.model|default("")) | tojson }}}')
    chat = dialects(tmp_path)["mychat"]
    assert set(chat.EVENTS) == set(EventType)
    assert json.loads(chat.call(PROMOTION, "promotion.done", ENDPOINT, ATTEMPT).body) == {"say": "Promotion fraud"}


def test_a_template_can_take_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "slack.json.j2").write_text('{"text": {{ subject | slack | tojson }}}')
    call = dialects(tmp_path)["slack"].call(told(model="a<b"), "promotion.done", ENDPOINT, ATTEMPT)
    assert json.loads(call.body) == {"text": "'a&lt;b'"}


@pytest.mark.parametrize(
    ("name", "template", "said"),
    [
        ("mychat", "{% if %}", "mychat.json.j2, line 1"),
        ("mychat", "{{ title }}", "gives no JSON"),
        ("mychat", '"{{ title }}"', "is no object"),
        ("mychat", '{"a": {{ nothing | tojson }}}', "gives no JSON"),
        ("mychat", '{"a": {{ 1 // 0 }}}', "gives no JSON"),
        ("mychat", '{"a": {{ event["nothing"] | tojson }}}', "gives no JSON"),
        ("mychat", '{"a": {{ ("".__class__.__mro__ | string) | tojson }}}', "gives no JSON"),
        ("standard", "{}", "can't be called 'standard'"),
        ("My Chat", "{}", "can't be called 'My Chat'"),
    ],
)
def test_a_template_that_is_none_is_refused_when_it_is_read(
    tmp_path: Path, name: str, template: str, said: str
) -> None:
    (tmp_path / f"{name}.json.j2").write_text(template)
    with pytest.raises(BadInput) as refused:
        dialects(tmp_path)
    assert said in refused.value.message


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no folder"):
        dialects(tmp_path / "nowhere")


def test_files_that_are_no_templates_are_let_be(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("{{")
    assert set(dialects(tmp_path)) == set(dialects())


GATES = told(
    EventType.GATE_FAILED,
    version=3,
    target="stage:Production",
    request_id=7,
    after={"gates": [{"name": "auc *floor* <!here>", "outcome": "failed"}, {"name": "soaked", "outcome": "pending"}]},
)


def test_gates_are_shown_at_a_glance_in_slack() -> None:
    shown = [block["text"]["text"] for block in message("slack", GATES)["blocks"] if "text" in block]
    assert "*Gates*\n✗ failed: auc *floor* &lt;!here&gt;\n… pending: soaked" in shown


def test_gates_are_shown_at_a_glance_in_teams() -> None:
    assert {"✗ failed: auc *floor* <!here>", "… pending: soaked"} <= set(texts(message("teams", GATES)))


@pytest.mark.parametrize("chat", ["slack", "teams"])
def test_a_message_with_many_gates_stays_small(chat: str) -> None:
    after = {"gates": [{"name": "&" * 300, "outcome": "failed"}] * 50, "unmet": ["<" * 300] * 20}
    full = told(EventType.REQUEST_OPENED, version=1, target="alias:a", request_id=1, after=after)
    assert len(json.dumps(message(chat, full))) < 28_000
