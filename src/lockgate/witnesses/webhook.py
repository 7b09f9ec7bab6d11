"""A webhook that is sent each checkpoint. It can't be asked for one."""

from dataclasses import dataclass

import httpx

from lockgate.witnesses.witness import Unreachable

_TIMEOUT = 10


@dataclass(frozen=True)
class Webhook:
    """A URL that takes a POST."""

    url: str

    @property
    def name(self) -> str:
        """Its scheme, host and path: a query may hold a secret."""
        url = httpx.URL(self.url)
        return str(url.copy_with(query=None, userinfo=b""))

    def recent(self) -> None:
        """Return nothing: it only takes."""

    def keep(self, line: str, at: str, number: int) -> None:
        """Send a checkpoint; any answer of success will do."""
        try:
            answer = httpx.post(
                self.url,
                content=f"{line}\n".encode(),
                headers={"Content-Type": "application/json"},
                timeout=_TIMEOUT,
            )
        except httpx.HTTPError as error:
            raise Unreachable(type(error).__name__) from None
        if not answer.is_success:
            raise Unreachable(f"it answered {answer.status_code}")
