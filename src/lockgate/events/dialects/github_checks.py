"""GitHub's checks (https://docs.github.com/en/rest/checks/runs#create-a-check-run): where a request stands is shown at
the commit that its version was trained from.
"""

import re
from typing import Any, ClassVar

from lockgate.errors import BadInput
from lockgate.events.dialect import Attempt, Call, Endpoint, Told
from lockgate.events.dialects.github_api import REPOSITORY, call, check_repository
from lockgate.events.event import EventType
from lockgate.events.glance import AT_A_GLANCE
from lockgate.events.payload import request_page
from lockgate.events.settings import Setting
from lockgate.events.titles import subject, title
from lockgate.events.wording import line, markdown, paragraphs
from lockgate.gates.judge import Outcome
from lockgate.promotions.request import State

_COMMIT = re.compile(r"[0-9a-f]{40}")
_MOST_OF_A_NAME = 100
_MOST_OF_A_TITLE = 200
#: How a check ends with its request; before that, it depends on the gates.
_CONCLUSIONS = {
    State.PROMOTED: "success",
    State.REJECTED: "failure",
    State.WITHDRAWN: "cancelled",
    State.EXPIRED: "cancelled",
    State.SUPERSEDED: "neutral",
}


class GithubChecks:
    """Writes check runs of a repository; the endpoint's address is that of GitHub's API.

    Each event is a run of its own: GitHub shows the newest of a name.
    """

    #: A refusal changes nothing of where a request stands.
    EVENTS: ClassVar[tuple[str, ...]] = tuple(one for one in AT_A_GLANCE if one is not EventType.PROMOTION_REFUSED)
    SIGNS: ClassVar[bool] = False
    SETTINGS: ClassVar[tuple[Setting, ...]] = (*REPOSITORY, Setting("name"))

    def check(self, endpoint: Endpoint) -> None:
        """Refuse an endpoint that names no repository or token.

        Raises:
            BadInput: saying what is missing or malformed.
        """
        check_repository(endpoint)
        if len(endpoint.settings.get("name", "")) > _MOST_OF_A_NAME:
            raise BadInput(f"The `name` of GitHub's check has at most {_MOST_OF_A_NAME} characters.")

    def names(self, told: Told) -> tuple[str, ...]:
        """Return the event's type if it says where a request stands, and of which commit; else there is no place."""
        says_so = told.type in self.EVENTS and not told.was_refused and _state(told) is not None
        return (told.type,) if says_so and _COMMIT.fullmatch(_commit(told)) else ()

    def call(self, told: Told, name: str, endpoint: Endpoint, attempt: Attempt) -> Call:
        """Return the call that creates the check run."""
        body = {
            "name": endpoint.settings.get("name") or _name(told),
            "head_sha": _commit(told),
            "external_id": f"lockgate-request-{told.data.get('request_id', 0)}",
            **_status(told),
            "output": {
                "title": line(f"{title(told)}: {subject(told)}", _MOST_OF_A_TITLE),
                # The lines of a paragraph that end in two blanks stay apart.
                "summary": "\n\n".join("  \n".join(lines) for lines in paragraphs(told, markdown)),
            },
        }
        if page := request_page(told, attempt.base_url):
            body["details_url"] = page
        return call(endpoint, "check-runs", body)


def _name(told: Told) -> str:
    return line(f"Lockgate: {told.model} \N{RIGHTWARDS ARROW} {told.data.get('target', '')}", _MOST_OF_A_NAME)


def _commit(told: Told) -> str:
    return str(told.after.get("commit", ""))


def _state(told: Told) -> State | None:
    said = told.after.get("state")
    return State(said) if said in set(State) else None


def _status(told: Told) -> dict[str, Any]:
    state = _state(told)
    if state is not None and state in _CONCLUSIONS:
        return _completed(_CONCLUSIONS[state])
    outcomes = {gate.get("outcome") for gate in told.after.get("gates", ()) if not gate.get("warns")}
    if outcomes & {Outcome.FAILED, Outcome.ERROR}:
        return _completed("failure")
    if state is State.APPROVED and Outcome.PENDING not in outcomes:
        return _completed("success")
    return {"status": "in_progress"}


def _completed(conclusion: str) -> dict[str, Any]:
    return {"status": "completed", "conclusion": conclusion}
