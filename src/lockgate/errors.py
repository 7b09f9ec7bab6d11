"""Errors, by what the caller can do about them.

Each carries the error code of MLflow's API that says the same, so that one shape reaches every client.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class LockgateError(Exception):
    """A refusal or failure that the caller is told about.

    Args:
        message: What is wrong and what to do next, in sentences.
        details: The same as data; goes out as `details` of the answer.
    """

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500
    #: Whether what the transaction wrote so far (a request, an audit entry) stays although it ends in this.
    keeps_writes: ClassVar[bool] = False

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: Mapping[str, Any] = details


class BadInput(LockgateError):
    """Something in the call is malformed: mend the call."""

    code = "INVALID_PARAMETER_VALUE"
    status = 400


class TooLarge(BadInput):
    """The call sends more than is taken at once: send less."""

    status = 413


class AlreadyExists(LockgateError):
    """The name is taken: choose another one."""

    code = "RESOURCE_ALREADY_EXISTS"
    status = 400


class NotFound(LockgateError):
    """There is no such thing: look at what there is."""

    code = "RESOURCE_DOES_NOT_EXIST"
    status = 404


class Unauthenticated(LockgateError):
    """Nobody known is calling: sign in or send a token."""

    code = "UNAUTHENTICATED"
    status = 401


class TooManyAttempts(Unauthenticated):
    """Too much has failed of late: wait for `retry_after` seconds (of `details`), or show otherwise who you are."""

    code = "REQUEST_LIMIT_EXCEEDED"
    status = 429


class Refused(LockgateError):
    """The caller may not do this: ask somebody who may, or meet what is missing."""

    code = "PERMISSION_DENIED"
    status = 403


class RefusedOnRecord(Refused):
    """A refusal that is put on record: the audit entry, and a request that the call opened, are kept."""

    keeps_writes = True


class Conflict(LockgateError):
    """Somebody else was first, or the thing is past that point: look again, then decide."""

    code = "RESOURCE_CONFLICT"
    status = 409


class ConflictOnRecord(Conflict):
    """A conflict that left something to keep, such as a request found to be expired."""

    keeps_writes = True


class Outdated(Conflict):
    """This server is older than the database and may not write: restart it with the new version, or call another."""


class OutcomeUnknown(Conflict):
    """The database was lost while a change was being committed, and nobody knows whether it was: look, or repeat the
    call with the same `Idempotency-Key`."""


class KeyReused(LockgateError):
    """An `Idempotency-Key` that another call had: take a new key for each call."""

    code = "INVALID_PARAMETER_VALUE"
    status = 422


class RefusedByDatabase(LockgateError):
    """The database could not take a value, such as one that is too long: shorten or mend it."""

    code = "BAD_REQUEST"
    status = 400
