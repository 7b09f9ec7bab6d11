"""Where the server listens, and what keeps tokens secret on their way there.

A token that travels over plain HTTP can be read by everybody on the way. So only the machine itself is served without
TLS, unless somebody says that something else sees to it.
"""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from lockgate.errors import BadInput


@dataclass(frozen=True)
class Binding:
    """How the server is reached.

    Args:
        host: The address to bind.
        port: The port to bind.
        ssl_certfile: The certificate, and those that lead to a root, in PEM.
        ssl_keyfile: Its private key in PEM.
        behind_proxy: Addresses and networks of the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed,
            comma-separated.
        insecure_http: Whether to serve others over plain HTTP all the same.
    """

    host: str
    port: int
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    behind_proxy: str = ""
    insecure_http: bool = False

    @property
    def scheme(self) -> str:
        """What the server itself speaks."""
        return "https" if self.ssl_certfile else "http"

    def check(self, trusts_proxies: bool = False) -> None:
        """Refuse what would be insecure by accident.

        Args:
            trusts_proxies: Whether the identity file names proxies that are in front of this server.

        Raises:
            BadInput: with what to do instead.
        """
        if bool(self.ssl_certfile) != bool(self.ssl_keyfile):
            raise BadInput("TLS needs both --ssl-certfile and --ssl-keyfile.")
        if self.ssl_certfile:
            self._check_certificate()
        for proxy in self._proxies():
            _check_proxy(proxy)
        if not (
            is_loopback(self.host) or self.ssl_certfile or self.behind_proxy or trusts_proxies or self.insecure_http
        ):
            raise BadInput(
                f"On {self.host} others would send their tokens over plain HTTP, where everybody on the way can read "
                "them. Serve TLS (--ssl-certfile FILE --ssl-keyfile FILE); or say which proxy does it in front of this "
                "server (--behind-proxy ADDRESS, or trusted_proxies in --identity FILE), and let nobody else reach "
                "this port; or take the risk (--insecure-http). Without any of them the server listens on this machine "
                "only (--host 127.0.0.1)."
            )

    def _check_certificate(self) -> None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.ssl_certfile, self.ssl_keyfile, _no_password)
        except (OSError, ValueError) as error:
            raise BadInput(
                f"The certificate in {self.ssl_certfile} and the key in {self.ssl_keyfile} can't be used: "
                f"{getattr(error, 'strerror', None) or error}. Both must be PEM files that belong together, the key "
                "without a password."
            ) from None

    def _proxies(self) -> list[str]:
        return [proxy.strip() for proxy in self.behind_proxy.split(",")] if self.behind_proxy else []

    def environment(self) -> dict[str, str]:
        """Return it as variables, for the process that serves."""
        return {
            "LOCKGATE_HOST": self.host,
            "LOCKGATE_PORT": str(self.port),
            "LOCKGATE_SSL_CERTFILE": self.ssl_certfile,
            "LOCKGATE_SSL_KEYFILE": self.ssl_keyfile,
            "LOCKGATE_BEHIND_PROXY": ",".join(self._proxies()),
            "LOCKGATE_INSECURE_HTTP": "true" if self.insecure_http else "false",
        }

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Binding":
        """Read it from the environment."""
        return cls(
            host=environment["LOCKGATE_HOST"],
            port=int(environment["LOCKGATE_PORT"]),
            ssl_certfile=environment.get("LOCKGATE_SSL_CERTFILE", ""),
            ssl_keyfile=environment.get("LOCKGATE_SSL_KEYFILE", ""),
            behind_proxy=environment.get("LOCKGATE_BEHIND_PROXY", ""),
            insecure_http=environment.get("LOCKGATE_INSECURE_HTTP") == "true",
        )


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_kept_secret(url: str) -> bool:
    """Say whether what is sent to a URL can be read by nobody on the way: by TLS, or without leaving this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    host = parts.hostname or ""
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def _check_proxy(proxy: str) -> None:
    """Refuse what uvicorn would take for a name that never calls, and what would believe everybody."""
    try:
        network = ip_network(proxy)
    except ValueError:
        raise BadInput(
            f"--behind-proxy takes addresses and networks, such as 10.0.0.5 or 10.0.0.0/24, not '{proxy}'."
        ) from None
    if network.prefixlen == 0:
        raise BadInput(f"--behind-proxy {proxy} would believe everybody. Name the proxies only.")


def _no_password() -> str:
    # Else OpenSSL asks whoever started the server, and a service waits for ever.
    raise ValueError("the key has a password")
