"""Page tokens: where to go on in one list, with the same conditions.

A token is no permission. Whatever it says, the page that it leads to is searched anew, for whoever asks. So it has a
checksum, against mixing lists up, and no secret: who works one out gets to a page that they may see anyway.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from lockgate.errors import BadInput

_BAD = "This page token is not one of ours, or of another list or search. Start again without one."


@dataclass(frozen=True)
class Listing:
    """A list, with the conditions that a page of it was asked for with."""

    name: str
    conditions: tuple[Any, ...] = ()

    def token(self, before: int | None) -> str | None:
        """Return the token for what comes before a row, or None if nothing does."""
        return None if before is None else self.token_at(str(before))

    def start(self, token: str | None) -> int | None:
        """Return the row that a page comes before; None for the first page.

        Raises:
            BadInput: if the token is of another list, has other conditions, or was changed.
        """
        position = self.position(token)
        if position is None:
            return None
        if not position.isdecimal() or len(position) > 18:
            raise BadInput(_BAD)
        return int(position)

    def token_at(self, position: str) -> str:
        """Return the token for where a page ended, in a list whose rows have no numbers."""
        return base64.urlsafe_b64encode(self._checked(position).encode()).decode()

    def position(self, token: str | None) -> str | None:
        """Return where the page before ended; None for the first page.

        Raises:
            BadInput: if the token is of another list, has other conditions, or was changed.
        """
        if token is None:
            return None
        try:
            text = base64.b64decode(token, altchars=b"-_", validate=True).decode()
        except (binascii.Error, ValueError):
            raise BadInput(_BAD) from None
        position = text.rpartition(".")[0]
        if text != self._checked(position):
            raise BadInput(_BAD)
        return position

    def _checked(self, position: str) -> str:
        about = json.dumps([self.name, [None if one is None else str(one) for one in self.conditions], position])
        return f"{position}.{hashlib.sha256(about.encode()).hexdigest()[:24]}"
