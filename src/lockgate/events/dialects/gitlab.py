"""GitLab pipelines (https://docs.gitlab.com/ci/triggers/): an event starts one, by a pipeline trigger token."""

from typing import ClassVar
from urllib.parse import quote, urlencode

from lockgate.errors import BadInput
from lockgate.events.dialect import Attempt, Call, Endpoint, Told
from lockgate.events.event import EventType
from lockgate.events.settings import Setting

_REQUIRED = ("project", "token", "ref")
_VARIABLE = "variables["
_KIND = "variables[PIPELINE_TYPE]"


class Gitlab:
    """Starts a pipeline of a GitLab project; the endpoint's address is GitLab's own, without a path of the API."""

    EVENTS: ClassVar[tuple[str, ...]] = tuple(EventType)
    SIGNS: ClassVar[bool] = False
    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting("project", says_where=True),
        Setting("ref", says_where=True),
        Setting("token", is_secret=True),
        # Nobody knows what is in a variable: it may be a password.
        Setting("variables[NAME]", is_secret=True, is_text=True, pattern=r"variables\[[A-Za-z_]\w*\]"),
    )

    def check(self, endpoint: Endpoint) -> None:
        """Refuse an endpoint that names no project, token or branch.

        Raises:
            BadInput: naming what is missing.
        """
        missing = [name for name in _REQUIRED if not endpoint.settings.get(name)]
        if missing:
            raise BadInput(
                f"To start a pipeline GitLab needs {' and '.join(missing)}: the project's number or path, a pipeline "
                "trigger token, and the branch or tag to run."
            )

    def names(self, told: Told) -> tuple[str, ...]:
        """Return the event's type; nothing of what was refused: whoever may do nothing would start pipelines."""
        return () if told.was_refused else (told.type,)

    def call(self, told: Told, name: str, endpoint: Endpoint, attempt: Attempt) -> Call:
        """Return the call that starts the pipeline."""
        settings = endpoint.settings
        project = quote(settings["project"], safe="", errors="replace")
        fields = {
            "token": settings["token"],
            "ref": settings["ref"],
            "variables[MODEL_NAME]": _literally(told.model or ""),
            "variables[MODEL_VERSION]": str(told.data.get("version", "")),
            "variables[MODEL_TARGET]": _literally(str(told.data.get("target", ""))),
            _KIND: name,
            **{key: value for key, value in settings.items() if key.startswith(_VARIABLE)},
        }
        return Call(
            f"{endpoint.url.rstrip('/')}/api/v4/projects/{project}/trigger/pipeline",
            urlencode(fields, errors="replace").encode("ascii"),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )


def _literally(text: str) -> str:
    """Return a variable's value as it is: GitLab would put other variables, secret ones too, in place of `$NAME`."""
    return text.replace("$", "$$")
