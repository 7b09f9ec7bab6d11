"""A Lockgate whose people come from a provider, whose CI jobs come from a platform, with a proxy in front of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.house import House, form_of, free_port
from tests.provider import CLIENT, CLIENT_SECRET, Provider, provider

#: On Linux all of 127.0.0.0/8 is this machine, so that calls can come from several addresses.
PROXY = "127.0.0.2"
AUDIENCE = "lockgate-api"
PEOPLE = {
    "sub-nina": {"preferred_username": "nina", "email": "nina@acme.example", "groups": ["ml-team", "ml-seniors"]},
    "sub-omar": {"preferred_username": "omar", "email": "omar@acme.example", "groups": []},
    "sub-ada": {"preferred_username": "ada", "email": "ada@acme.example", "groups": ["ml-team"]},
}
FILE = """\
version: 1
providers:
  - name: Acme
    issuer: {provider}
    client_id: {client}
    client_secret_env: ACME_SECRET
    audience: {audience}
    algorithms: [RS256, ES256, PS256, EdDSA]
    groups: {{ml-seniors: senior}}
    roles: {{ml-team: viewer, ml-seniors: [reviewer]}}
    provision: true
platforms:
  - issuer: {platform}
    audience: {audience}
    trust:
      - {{service_account: ci, claims: {{repository: acme/fraud, ref: refs/heads/main}}}}
      - {{service_account: ci, claims: {{repository: acme/fraud, ref: refs/tags/v*}}}}
trusted_proxies:
  addresses: {proxy}
  header: X-Forwarded-User
"""


@dataclass
class Town:
    """The house, the provider and the platform."""

    house: House
    provider: Provider
    platform: Provider
    #: Whatever must never be seen in a log.
    secrets: list[str] = field(default_factory=list)

    def browser(self, **options: Any) -> httpx.Client:
        """A browser: it says where its calls come from."""
        return httpx.Client(base_url=self.house.uri, headers={"sec-fetch-site": "same-origin"}, timeout=60, **options)

    def get(self, token: str | None = None, headers: dict[str, str] | None = None, **options: Any) -> httpx.Response:
        """Ask who calls for something that anybody with a role may see."""
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        with httpx.Client(base_url=self.house.uri, timeout=60, **options) as client:
            return client.get("/api/lockgate/v1/requests", headers={**bearer, **(headers or {})})

    def sign_in(self, browser: httpx.Client, **filled: str) -> httpx.Response:
        """Fill the form to sign in."""
        hidden = form_of(browser.get("/lockgate/sign-in"))
        return browser.post("/lockgate/sign-in", data={**hidden, **filled})

    def sign_in_with_provider(self, browser: httpx.Client, subject: str) -> httpx.Response:
        """Go to the provider, log in there and come back."""
        there = browser.get("/lockgate/sign-in/with", params={"provider": "Acme", "next": "/lockgate/requests"})
        assert there.status_code == 303, there.text
        with httpx.Client(timeout=60) as at_provider:
            back = self.provider.log_in(at_provider, there.headers["location"], subject)
        self.secrets += [httpx.URL(back).params["code"], httpx.URL(back).params["state"]]
        return browser.get(back)

    def principal(self, name: str) -> dict[str, Any] | None:
        listed = self.house.call("admin", "GET", "/principals")["principals"]
        return next((one for one in listed if one["name"] == name), None)

    def audit(self) -> list[dict[str, Any]]:
        """All that is on record, newest first."""
        entries: list[dict[str, Any]] = []
        page = ""
        while page is not None:
            told = self.house.call("admin", "GET", f"/audit?max_results=200{page and f'&page_token={page}'}")
            entries += told["entries"]
            page = told["next_page_token"]
        return entries


@contextmanager
def town(folder: Path, backend: str, **environment: str) -> Iterator[Town]:
    """Open a town."""
    ports = free_port(), free_port()
    file = folder / "identity.yaml"
    house = House(folder, backend, "--identity", str(file), environment={"ACME_SECRET": CLIENT_SECRET, **environment})
    back = [f"{house.uri}/lockgate/sign-in/callback"]
    with provider(ports[0], back, PEOPLE) as acme, provider(ports[1], back, {}) as platform:
        text = FILE.format(
            provider=acme.issuer, platform=platform.issuer, client=CLIENT, audience=AUDIENCE, proxy=PROXY
        )
        file.write_text(text)
        try:
            yield Town(house.open(), acme, platform, [CLIENT_SECRET])
        finally:
            house.close()
