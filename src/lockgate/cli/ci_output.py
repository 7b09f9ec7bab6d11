"""What a target holds, as the next step of a pipeline reads it."""

import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from lockgate.errors import BadInput

#: What a dotenv file carries as it is. It has no quotes and no escapes: a line's end ends the value, blanks at its ends
#: are lost, and GitLab's runner takes `$NAME` for another variable.
_PLAIN = re.compile(r"[\w.:/@+=,~%&?()\[\]-]+(?: +[\w.:/@+=,~%&?()\[\]-]+)*")


def deployable(holder: Mapping[str, Any]) -> dict[str, str]:
    """Return what a deployment has to know of what a target holds, by name.

    Args:
        holder: What the server says that the target holds.

    Raises:
        BadInput: if MLflow would take the address of this version for that of something else.
    """
    name, version = holder["model"], holder["version"]
    if "?" in name:
        # It reads what follows as a query: `models:/evil@x?/1` is what the alias x of `evil` points at.
        raise BadInput(f"The name {name[:300]!r} has a question mark: no address of MLflow leads to this model.")
    return {
        "name": name,
        "version": version,
        "target": holder["target"],
        "uri": f"models:/{name}/{version}",
        "source": holder["source"],
        "digest": holder["evidence_digest"] or "",
    }


def as_dotenv(values: Mapping[str, str], prefix: str) -> str:
    """Return a dotenv file: `MODEL_NAME=fraud` and so on.

    Args:
        values: What a deployment has to know.
        prefix: What the names begin with.

    Raises:
        BadInput: if a value is one that a dotenv file can't carry unchanged.
    """
    for name, value in values.items():
        if value and not _PLAIN.fullmatch(value):
            raise BadInput(
                f"The {name} {value[:300]!r} holds characters that a dotenv file does not carry unchanged: it has no "
                "quotes. Use --format json."
            )
    return "".join(f"{prefix}_{name.upper()}={value}\n" for name, value in values.items())


def as_github_output(
    values: Mapping[str, str], delimiter: Callable[[], str] = lambda: f"end_{secrets.token_hex(16)}"
) -> str:
    """Return outputs of a step as GitHub reads them, whatever the values hold.

    Args:
        values: What a deployment has to know.
        delimiter: Makes up what ends a value; nobody who chose a value can have known it.
    """
    parts = []
    for name, value in values.items():
        end = delimiter()
        parts.append(f"{name}<<{end}\n{value}\n{end}\n")
    return "".join(parts)
