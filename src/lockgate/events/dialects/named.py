"""Dialects by their name, as webhooks name theirs."""

import re
from pathlib import Path

from lockgate.errors import BadInput
from lockgate.events.dialect import Dialect
from lockgate.events.dialects import chat
from lockgate.events.dialects.databricks import Databricks
from lockgate.events.dialects.email import Email
from lockgate.events.dialects.github import Github
from lockgate.events.dialects.github_checks import GithubChecks
from lockgate.events.dialects.gitlab import Gitlab
from lockgate.events.dialects.jira import Jira
from lockgate.events.dialects.mlflow import Mlflow
from lockgate.events.dialects.standard import Standard

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}")


def dialects(folder: Path | None = None, workspaces: bool = False) -> dict[str, Dialect]:
    """Return all dialects that there are, by name.

    Args:
        folder: Where more templates of chats are: `mychat.json.j2` is the dialect `mychat`, and `slack.json.j2` takes
            the place of ours.
        workspaces: Whether MLflow's workspaces are enabled.

    Raises:
        BadInput: if there is no such folder, or a template in it is malformed or has a name that can't be had.
    """
    ours: dict[str, Dialect] = {
        "standard": Standard(),
        "mlflow": Mlflow(workspaces),
        "databricks": Databricks(),
        "gitlab": Gitlab(),
        "github": Github(),
        "github-checks": GithubChecks(),
        "jira": Jira(),
        "email": Email(),
    }
    theirs = chat.read(folder) if folder is not None else {}
    for name in theirs:
        if name in ours or not _NAME.fullmatch(name):
            raise BadInput(
                f"A template can't be called {name!r}: a name has small letters, digits, '_' and '-', begins with a "
                f"letter, and is none of {', '.join(ours)}."
            )
    return {**ours, **chat.read(chat.TEMPLATES), **theirs}
