"""When somebody has guessed often enough. Pure: counts and time are arguments."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, ip_address, ip_network

WINDOW = timedelta(minutes=15)
#: How many failures one name takes.
PER_ACCOUNT = 10
#: How many refused changes of one principal go on record.
PER_PRINCIPAL = 50
#: How many one address takes. Many people may be behind one, so it is more than one of them would need.
PER_ADDRESS = 50
_CUSTOMERS_BITS = 64


@dataclass(frozen=True)
class Counted:
    """Something whose failures are counted, and how many it takes."""

    key: str
    limit: int


@dataclass(frozen=True)
class Failures:
    """How often something failed since when."""

    key: str
    count: int
    since: datetime


def account(name: str) -> Counted:
    """Return what counts failures for a name, whether or not there is somebody of that name."""
    return Counted(_key("account", name), PER_ACCOUNT)


def address(host: str) -> Counted:
    """Return what counts failures from an address."""
    return Counted(_key("address", _network(host)), PER_ADDRESS)


def tokens_from(host: str) -> Counted:
    """Return what counts tokens from an address that are nobody's: apart, so that a job that goes on with an old token
    keeps nobody beside it from signing in with a password."""
    return Counted(_key("tokens from", _network(host)), PER_ADDRESS)


def refusals_of(principal_id: int) -> Counted:
    """Return what counts the refused changes of a principal that went on record."""
    return Counted(_key("refusals", str(principal_id)), PER_PRINCIPAL)


def blocked_until(counted: Iterable[Counted], failures: Iterable[Failures], at: datetime) -> datetime | None:
    """Return until when nothing more is tried, if anything that is counted has failed too often of late."""
    limits = {one.key: one.limit for one in counted}
    ends = [one.since + WINDOW for one in failures if one.count >= limits.get(one.key, PER_ACCOUNT)]
    return max((end for end in ends if end > at), default=None)


def after_failure(before: Failures | None, key: str, at: datetime) -> Failures:
    """Return the count after one more failure; an old window has ended, so a new one begins."""
    if before is None or before.since + WINDOW <= at:
        return Failures(key, 1, at)
    return Failures(key, before.count + 1, before.since)


def _network(host: str) -> str:
    """Return an address as it is counted: of IPv6, the network that one customer has to choose addresses from."""
    try:
        found = ip_address(host)
    except ValueError:
        return host
    if isinstance(found, IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ip_network((int(found), _CUSTOMERS_BITS), strict=False))


def _key(kind: str, what: str) -> str:
    return hashlib.sha256(f"{kind}\0{what}".encode(errors="backslashreplace")).hexdigest()
