"""Which URLs a webhook may have, and which addresses may be connected to."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.delivery.addresses import ALLOW_HOSTS, ALLOW_HTTP, Allowed, check_url, is_open
from lockgate.errors import BadInput

NOTHING = Allowed()
HOUSE = Allowed.read({ALLOW_HOSTS: "ci.corp.example, 10.1.0.0/16,192.168.7.7 ,fd12::/16", ALLOW_HTTP: "true"})
URL = "https://ci.example.com/hooks/models"

PRIVATE = [
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
#: How an IPv4 address is written in an IPv6 address, by who does it.
EMBEDDINGS: dict[str, Callable[[int], int]] = {
    "mapped": lambda inner: 0xFFFF << 32 | inner,
    "compatible": lambda inner: inner,
    "translated": lambda inner: 0xFFFF << 48 | inner,
    "NAT64": lambda inner: 0x64FF9B << 96 | inner,
    "NAT64 of one's own": lambda inner: 0x64FF9B0001 << 80 | inner,
    "NAT64 of one's own, /48": lambda inner: 0x64FF9B0001 << 80 | inner >> 16 << 64 | (inner & 0xFFFF) << 40,
    "NAT64 of one's own, /56": lambda inner: 0x64FF9B0001 << 80 | inner >> 24 << 64 | (inner & 0xFFFFFF) << 32,
    "6to4": lambda inner: 0x2002 << 112 | inner << 80 | 1,
    "Teredo, the server": lambda inner: 0x20010000 << 96 | inner << 64 | (0x08080808 ^ 0xFFFFFFFF),
    "Teredo, the client": lambda inner: 0x20010000 << 96 | 0x08080808 << 64 | (inner ^ 0xFFFFFFFF),
}

private = st.sampled_from(PRIVATE).flatmap(lambda network: st.ip_addresses(network=network)).map(int)


@given(private)
def test_no_private_address_is_open(inner: int) -> None:
    assert not is_open(str(IPv4Address(inner)), NOTHING, "ci.example.com")


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@given(inner=private)
def test_nor_inside_another(embedding: str, inner: int) -> None:
    assert not is_open(str(IPv6Address(EMBEDDINGS[embedding](inner))), NOTHING, "ci.example.com")


@given(st.ip_addresses())
def test_what_python_says_is_not_global_is_not_open(address: IPv4Address | IPv6Address) -> None:
    if is_open(str(address), NOTHING, "ci.example.com"):
        inner = getattr(address, "ipv4_mapped", None) or address
        assert inner.is_global
        assert not inner.is_multicast


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::8.8.8.8",
    ],
)
def test_public_addresses_are_open(address: str) -> None:
    assert is_open(address, NOTHING, "ci.example.com")


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fd00:ec2::254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1111%1",
        "ff02::1",
        "fec0::1",
        "fc00::1",
        "2001:db8::1",
        "3fff::1",
        "255.255.255.255",
        "0.0.0.0",
        "nonsense",
        "",
    ],
)
def test_these_are_closed(address: str) -> None:
    assert not is_open(address, NOTHING, "ci.example.com")


@pytest.mark.parametrize(
    ("address", "host", "opened"),
    [
        ("10.1.2.3", "x.example", True),
        ("::ffff:10.1.2.3", "x.example", True),
        ("64:ff9b::10.1.2.3", "x.example", True),
        ("10.2.2.3", "x.example", False),
        ("192.168.7.7", "x.example", True),
        ("192.168.7.8", "x.example", False),
        ("fd12::1", "x.example", True),
        ("fd13::1", "x.example", False),
        ("172.16.0.9", "ci.corp.example", True),
        ("172.16.0.9", "CI.Corp.Example.", True),
        ("172.16.0.9", "evil.ci.corp.example", False),
        ("172.16.0.9", "ci.corp.example.evil", False),
        ("nonsense", "ci.corp.example", False),
    ],
)
def test_what_is_listed_is_open(address: str, host: str, opened: bool) -> None:
    assert is_open(address, HOUSE, host) is opened


def test_names_are_compared_as_they_are_looked_up() -> None:
    listed = Allowed.read({ALLOW_HOSTS: "Bücher.Example."})
    assert listed.hosts == {"xn--bcher-kva.example"}
    assert is_open("10.0.0.1", listed, "xn--bcher-kva.example")


@pytest.mark.parametrize(
    "entry",
    [
        "*.corp.example",
        "ci.corp.example:8080",
        "https://ci.corp.example",
        "10.0.0.5/8",
        "10.0.0.0/33",
        "10.0.0.256",
        "a b",
        "u@h",
        "-",
        "a..b",
        "0x7f.1",
        "ci/x",
        "ci?x",
        "ci#x",
        "127。0。0。1",
    ],
)
def test_what_is_not_a_place_is_refused(entry: str) -> None:
    with pytest.raises(BadInput, match="takes hosts, addresses and networks"):
        Allowed.read({ALLOW_HOSTS: f"ci.corp.example,{entry}"})


@pytest.mark.parametrize("entry", ["0.0.0.0/0", "::/0"])
def test_not_every_network_can_be_listed(entry: str) -> None:
    with pytest.raises(BadInput, match="would open every network"):
        Allowed.read({ALLOW_HOSTS: entry})


def test_plain_http_is_yes_or_no() -> None:
    assert Allowed.read({}) == Allowed.read({ALLOW_HOSTS: " , ", ALLOW_HTTP: "False"}) == NOTHING
    with pytest.raises(BadInput, match="is true or false"):
        Allowed.read({ALLOW_HTTP: "yes"})


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://ci.example.com:8443/x?token=1",
        "HTTPS://CI.Example.COM./x",
        "https://bücher.example/",
        "https://8.8.8.8/x",
        "https://[2606:4700::1111]/x",
    ],
)
def test_urls_of_the_public_internet_will_do(url: str) -> None:
    check_url(url, NOTHING)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "begins with https"),
        ("ci.example.com/x", "begins with https"),
        ("//ci.example.com/x", "begins with https"),
        ("file:///etc/passwd", "begins with https"),
        ("gopher://ci.example.com/", "begins with https"),
        (" https://ci.example.com/", "begins with https"),
        ("https://ci.example.com/\r\nHost: x", "is not a URL"),
        ("https://[::1", "is not a URL"),
        ("https://１２７.0.0.1/", "is not a URL"),
        ("https://user:secret@ci.example.com/", "user or password"),
        ("https://ci.example.com\\@evil.example/", "user or password"),
        ("https://ci.example.com/#there", "ends before the #"),
        ("https:///x", "has no host"),
        ("https:x", "has no host"),
        ("https://./", "has no host"),
        ("https://a b/", "neither a name"),
        ("https://exa%6dple.com/", "neither a name"),
        ("https://a..b/", "neither a name"),
        (f"https://{'a' * 64}.example/", "neither a name"),
        (f"https://{'a.' * 127}example/", "neither a name"),
        ("https://2130706433/", "is a number"),
        ("https://0x7f000001/", "is a number"),
        ("https://0177.0.0.1/", "is not a URL"),
        ("https://127.1/", "is a number"),
        ("https://127.0.0.1/", "not a public one"),
        ("https://127。0。0。1/", "not a public one"),
        ("https://[::ffff:127.0.0.1]/", "not a public one"),
        ("https://169.254.169.254/latest/meta-data", "not a public one"),
        ("https://[fe80::1%25eth0]/", "not a public one"),
        ("https://ci.example.com:0/", "from 1 to 65535"),
        ("https://ci.example.com:65536/", "from 1 to 65535"),
        ("https://ci.example.com:http/", "is not a URL"),
        ("http://ci.example.com/", f"{ALLOW_HTTP}=true"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(url: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        check_url(url, NOTHING)


def test_plain_http_is_for_what_is_listed() -> None:
    for url in ("http://ci.corp.example/", "http://CI.corp.example./", "http://10.1.2.3:8080/", "https://10.1.2.3/"):
        check_url(url, HOUSE)
    for url in ("http://ci.example.com/", "http://8.8.8.8/"):
        with pytest.raises(BadInput, match="Deliveries are sent by TLS"):
            check_url(url, HOUSE)
    with pytest.raises(BadInput, match="Deliveries are sent by TLS"):
        check_url("http://ci.corp.example/", Allowed(hosts=HOUSE.hosts))


@given(st.text())
def test_any_text_is_a_url_or_bad_input(text: str) -> None:
    for url in (text, f"https://{text}"):
        try:
            check_url(url, NOTHING)
        except BadInput:
            pass


def test_the_addresses_of_this_file_are_private() -> None:
    assert all(not network[1].is_global or network[1].is_multicast for network in PRIVATE)
    assert ip_address(EMBEDDINGS["NAT64"](0x0A000001)) == ip_address("64:ff9b::10.0.0.1")
    assert ip_address(EMBEDDINGS["6to4"](0x0A000001)).sixtofour == IPv4Address("10.0.0.1")
    assert ip_address(EMBEDDINGS["Teredo, the client"](0x0A000001)).teredo[1] == IPv4Address("10.0.0.1")
    # RFC 6052, section 2.2: the octet of bits 64 to 71 is left out.
    assert ip_address(EMBEDDINGS["NAT64 of one's own, /48"](0x0A010203)) == ip_address("64:ff9b:1:a01:2:300::")
    assert ip_address(EMBEDDINGS["NAT64 of one's own, /56"](0x0A010203)) == ip_address("64:ff9b:1:a:1:203::")
