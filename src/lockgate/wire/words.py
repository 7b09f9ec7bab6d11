"""What the shapes are made of: times, versions, names, and the least that a body must keep to."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

_MAX_VERSION = 2**31 - 1


def _version_number(value: object) -> int:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:11]) <= _MAX_VERSION:
        raise ValueError("a version is a positive whole number, such as 3")
    return int(text)


def rfc3339(at: datetime) -> str:
    """Return a time as it is shown: `2026-05-12T14:00:00.123Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(value: object) -> datetime:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        at = datetime.min
    if at.tzinfo is None or not 1970 < at.year < 9999:
        raise ValueError("a time needs a date, a time and a zone: 2026-05-12T14:00:00Z")
    return at


Time = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
VersionNumber = Annotated[int, BeforeValidator(_version_number), PlainSerializer(str, return_type=str)]
#: Of models; MLflow allows almost everything in them.
Name = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00]+$")]
CheckName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\w .\-/]+$")]
RowId = Annotated[int, Field(ge=1, le=2**63 - 1)]
PolicyVersion = Annotated[int, Field(ge=0, le=_MAX_VERSION)]
TargetText = Annotated[str, Field(min_length=1, max_length=300)]
Text = Annotated[str, Field(max_length=10_000)]
Digest = Annotated[str, Field(max_length=100)]
Url = Annotated[str, Field(max_length=2_000)]


class Body(BaseModel):
    """What a caller sends; what is not known is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class LenientBody(BaseModel):
    """What a caller sends in a dialect that isn't ours; what is not known is ignored, as MLflow does."""

    model_config = ConfigDict(extra="ignore")
