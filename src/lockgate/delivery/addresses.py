"""Where calls may go: to the public Internet by TLS, and elsewhere only where the operator says so. Pure.

Whoever may make a webhook chooses its URL. Without bounds the server would call for them what only it can reach: its
own machine, the network behind it, a cloud's metadata.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

from lockgate.errors import BadInput

ALLOW_HOSTS = "LOCKGATE_WEBHOOK_ALLOW_HOSTS"
ALLOW_HTTP = "LOCKGATE_WEBHOOK_ALLOW_HTTP"

# Written out, since what Python calls global differs from version to version, and includes what nobody serves on.
# From IANA's registries of special-purpose addresses.
_CLOSED = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network: Linux connects to itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind a carrier's NAT; Alibaba's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host: public by number, but inside each machine's own network
        "169.254.0.0/16",  # link-local; the metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocols; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # to 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # protocols; Teredo, which leads to an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which leads to an IPv4 address
        "2620:4f:8000::/48",
        "3fff::/20",  # documentation
    )
)
#: All of IPv6 that is given out to be reached by everybody.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
#: Where the last 32 bits are the IPv4 address that is really meant: mapped, and two prefixes of NAT64.
_IPV4_INSIDE = tuple(IPv6Network(network) for network in ("::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/96"))

_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
#: What C libraries take for an address in a form of their own: 2130706433, 0x7f.1, 127.1.
_NUMBER_AT_THE_END = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")

_Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Allowed:
    """What deliveries may reach although it is private.

    Attributes:
        hosts: By name, wherever the name leads: lower case, in ASCII, no dot at the end.
        networks: By address.
        http: Whether these may be called by plain HTTP.
    """

    hosts: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    http: bool = False

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Allowed":
        """Read it from the environment.

        Raises:
            BadInput: for what is malformed there.
        """
        hosts, networks = set(), []
        for entry in filter(None, (entry.strip() for entry in environment.get(ALLOW_HOSTS, "").split(","))):
            network = _network(entry)
            if network is None:
                hosts.add(_listed_name(entry))
            else:
                networks.append(network)
        return cls(frozenset(hosts), tuple(networks), _is_true(environment.get(ALLOW_HTTP, "")))

    def names(self, place: str) -> bool:
        """Say whether a host or an address is on the list."""
        address = _address(place)
        if address is None:
            return _compared(place) in self.hosts
        return any(found in network for network in self.networks for found in (address, _inside(address)))


def check_url(url: str, allowed: Allowed) -> None:
    """Refuse a URL that deliveries could not be sent to. Where its name leads is seen when they are.

    Args:
        url: The URL.
        allowed: What is allowed beyond the public Internet.

    Raises:
        BadInput: with what to write instead.
    """
    try:
        parts = httpx.URL(url)
        parts.host  # noqa: B018 - reads `xn--...`, which may be nothing that a request could be made of
        host = _compared(parts.raw_host.decode("ascii"))
    except (httpx.InvalidURL, ValueError):
        raise BadInput("This is not a URL. Write one such as https://ci.example.com/hooks/models.") from None
    if parts.scheme not in ("https", "http"):
        raise BadInput("A webhook's URL begins with https://.")
    if parts.userinfo:
        raise BadInput(
            "A webhook's URL can't have a user or password in it: it is shown and logged. Let the receiver tell "
            "Lockgate by the signature."
        )
    if parts.fragment:
        raise BadInput("A webhook's URL ends before the #: what follows it is never sent.")
    if not host:
        raise BadInput("The URL has no host. Write one such as https://ci.example.com/hooks/models.")
    _check_host(host)
    if _address(host) is not None and not is_open(host, allowed, host):
        raise BadInput(
            "The URL's address is not a public one. Deliveries reach others only if whoever runs Lockgate lists them "
            f"in {ALLOW_HOSTS}."
        )
    if parts.port is not None and not 0 < parts.port < 65536:
        raise BadInput("The URL's port is a number from 1 to 65535.")
    if parts.scheme == "http" and not (allowed.http and allowed.names(host)):
        raise BadInput(
            "Deliveries are sent by TLS: write https://. Plain http is for hosts that whoever runs Lockgate lists in "
            f"{ALLOW_HOSTS}, with {ALLOW_HTTP}=true."
        )


def is_open(address: str, allowed: Allowed, host: str) -> bool:
    """Say whether an address may be connected to: a public one, or one that is on the list itself or by its host.

    An address that stands for another one (IPv4 in IPv6, NAT64) is judged by that. What goes through a tunnel (6to4,
    Teredo) and what has a scope is never public.

    Args:
        address: The address that a name leads to, or that is connected.
        allowed: What is allowed beyond the public Internet.
        host: The host of the URL.
    """
    found = _address(address)
    return found is not None and (allowed.names(host) or allowed.names(address) or _is_public(found))


def _is_public(address: _Address) -> bool:
    meant = _inside(address)
    if isinstance(meant, IPv6Address) and (meant.scope_id or meant not in _GLOBAL_UNICAST):
        return False
    return not any(meant in network for network in _CLOSED)


def _inside(address: _Address) -> _Address:
    if isinstance(address, IPv6Address) and any(address in network for network in _IPV4_INSIDE):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _address(place: str) -> _Address | None:
    try:
        return ip_address(place)
    except ValueError:
        return None


def _compared(host: str) -> str:
    return host.lower().removesuffix(".")


def _check_host(host: str) -> None:
    if _address(host) is not None:
        return
    if _NUMBER_AT_THE_END.fullmatch(host):
        raise BadInput("The URL's host is a number, but no address. Write an address such as 192.0.2.7, or a name.")
    if not _NAME.fullmatch(host):
        raise BadInput("The URL's host is neither a name such as ci.example.com nor an address such as 192.0.2.7.")


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        network = ip_network(entry)
    except ValueError:
        return None
    if network.prefixlen == 0:
        raise BadInput(f"{entry} in {ALLOW_HOSTS} would open every network. List those that receivers are in.")
    return network


def _listed_name(entry: str) -> str:
    try:
        # As the URLs that it is compared with are read.
        name = _compared(httpx.URL(scheme="https", host=entry).raw_host.decode("ascii"))
        _check_host(name)
    except (httpx.InvalidURL, ValueError, BadInput):
        name = ""
    if not name or _address(name) is not None:
        raise BadInput(
            f"{ALLOW_HOSTS} takes hosts, addresses and networks, separated by commas, such as "
            f"ci.example.com,10.0.0.5,10.1.0.0/16: not '{entry}'. A host has no port and no asterisk, a network "
            "no bits beyond its length."
        )
    return name


def _is_true(value: str) -> bool:
    if value.lower() not in ("", "true", "false"):
        raise BadInput(f"{ALLOW_HTTP} is true or false, not '{value}'.")
    return value.lower() == "true"
