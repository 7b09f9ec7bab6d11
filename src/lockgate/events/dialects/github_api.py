"""What calls of GitHub's REST API have in common: the repository, the token, the headers."""

import re
from collections.abc import Mapping
from typing import Any

from lockgate.errors import BadInput
from lockgate.events.dialect import Call, Endpoint
from lockgate.events.payload import compact
from lockgate.events.settings import Setting

#: The settings that name a repository and prove who calls.
REPOSITORY = (Setting("owner", says_where=True), Setting("repo", says_where=True), Setting("token", is_secret=True))

_NAME = re.compile(r"(?!\.{1,2}$)[\w.-]{1,100}", re.ASCII)


def check_repository(endpoint: Endpoint) -> None:
    """Refuse an endpoint that names no repository or token.

    Raises:
        BadInput: saying what is missing or malformed.
    """
    settings = endpoint.settings
    if not all(_NAME.fullmatch(settings.get(name, "")) for name in ("owner", "repo")):
        raise BadInput("GitHub needs `owner` and `repo`: whose the repository is, and its name.")
    if not settings.get("token"):
        raise BadInput("GitHub needs `token`, one that may write what it is told.")


def call(endpoint: Endpoint, path: str, body: Mapping[str, Any]) -> Call:
    """Return a call about the endpoint's repository; the endpoint's address is that of GitHub's API.

    Args:
        endpoint: Who is told.
        path: What of the repository, such as `dispatches`.
        body: What is said.
    """
    settings = endpoint.settings
    return Call(
        f"{endpoint.url.rstrip('/')}/repos/{settings['owner']}/{settings['repo']}/{path}",
        compact(body),
        {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {settings['token']}",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
