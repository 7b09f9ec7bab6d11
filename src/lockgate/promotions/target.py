"""Targets: the pointers of a model that move, a stage or an alias."""

import re
from dataclasses import dataclass
from typing import Literal

from lockgate.errors import BadInput

#: The stages that can be targets. `Archived` and `None` point nowhere: nothing is served from them.
TARGET_STAGES = ("Staging", "Production")
_ALIAS = re.compile(r"[\w\-]{1,255}")
_VERSION_LIKE_ALIAS = re.compile(r"[vV]\d+")


@dataclass(frozen=True, order=True)
class Target:
    """A stage or an alias of a model."""

    kind: Literal["stage", "alias"]
    name: str

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read a target from `stage:Production` or `alias:champion`; stages in any case.

        Raises:
            BadInput: with the forms that are allowed.
        """
        kind, _, name = text.partition(":")
        if kind == "stage":
            return cls("stage", _canonical_stage(name))
        if kind == "alias":
            return cls("alias", _valid_alias(name))
        raise BadInput(
            f"{text[:300]!r} is no target. Write stage:Staging, stage:Production or alias:NAME, such as alias:champion."
        )

    @classmethod
    def stored(cls, text: str) -> "Target":
        """Return the target that a row names, whatever names were allowed when it was written."""
        kind, _, name = text.partition(":")
        return cls("stage" if kind == "stage" else "alias", name)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def _canonical_stage(name: str) -> str:
    for stage in TARGET_STAGES:
        if stage.lower() == name.lower():
            return stage
    raise BadInput(f"{name[:300]!r} is no stage to promote to. The stages are: {', '.join(TARGET_STAGES)}.")


def _valid_alias(name: str) -> str:
    if not _ALIAS.fullmatch(name):
        raise BadInput(f"{name[:300]!r} is no alias. Use 1 to 255 letters, digits, '_' and '-'.")
    if name.lower() == "latest" or _VERSION_LIKE_ALIAS.fullmatch(name):
        raise BadInput(f"The alias {name!r} is reserved by MLflow. Choose another name.")
    return name
