"""What the doctor finds."""

from pydantic import BaseModel

from lockgate.wire.words import Time


class UnexplainedView(BaseModel):
    """A version that a protected target holds, or is said to hold, without a decision."""

    workspace: str
    model: str
    version: str
    target: str
    since: Time | None
    why: str


class DoctorView(BaseModel):
    """What the doctor finds; lists that are empty are health, but for `notes`."""

    #: Whether the guard is what it should be, nobody may do what it rests on, no checkpoint speaks against the log, and
    #: secrets can be opened.
    ok: bool
    #: SHA-256 of the guard that belongs in the database.
    fingerprint: str
    guard: list[str]
    access: list[str]
    #: What is so by choice and could be safer.
    notes: list[str]
    pointers: list[UnexplainedView]
    #: How places that keep checkpoints contradict the log, or could not be asked.
    checkpoints: list[str]
    #: What is secret in the database and the server can't open, as it was encrypted with another key.
    secrets: list[str]
