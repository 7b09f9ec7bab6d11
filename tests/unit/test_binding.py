"""The server doesn't start insecurely by accident."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lockgate.binding import Binding, is_kept_secret
from lockgate.cli.main import main
from lockgate.errors import BadInput
from tests.certificates import certificate

OPEN = ["0.0.0.0", "::", "10.0.0.5", "192.168.1.7", "lockgate.example", "", "127.0.0.1.example", "localhost.example"]


def refusal(**chosen: Any) -> str:
    with pytest.raises(BadInput) as refused:
        Binding(**{"host": "0.0.0.0", "port": 5000, **chosen}).check()
    return refused.value.message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.7"])
def test_this_machine_needs_nothing(host: str) -> None:
    Binding(host, 5000).check()


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://login.example/keys", True), ("http://localhost:8080/keys", True), ("http://[::1]/", True),
        ("http://127.0.0.1.evil.example/", False), ("http://localhost.evil.example/", False),
        ("http://localhost:80@evil.example/", False), ("http://login.example/", False), ("http://[::1", False),
        ("https://", False), ("//localhost", False), ("ftp://localhost/", False), ("", False),
    ],
)  # fmt: skip
def test_what_is_sent_where_nobody_can_read_it(url: str, kept: bool) -> None:
    assert is_kept_secret(url) is kept


@pytest.mark.parametrize("host", OPEN)
def test_others_need_tls_or_a_proxy_or_somebody_who_says_so(host: str, tmp_path: Path) -> None:
    said = refusal(host=host)
    assert all(way in said for way in ("--ssl-certfile", "--behind-proxy", "--insecure-http"))
    Binding(host, 5000, *certificate(tmp_path)).check()
    Binding(host, 5000, behind_proxy="10.0.0.1").check()
    Binding(host, 5000, insecure_http=True).check()


@pytest.mark.parametrize(
    "proxies", ["*", "proxy.example", "10.0.0.5,*", "10.0.0.5, ", "0.0.0.0/0", "::/0", "10.0.0.5/8"]
)
def test_a_proxy_is_an_address_or_a_network_but_not_everybody(proxies: str) -> None:
    assert "--behind-proxy" in refusal(behind_proxy=proxies)
    Binding("0.0.0.0", 5000, behind_proxy="10.0.0.5, 10.1.0.0/16,fd00::1").check()


def test_a_certificate_that_cannot_be_used_is_found_at_once(tmp_path: Path) -> None:
    good, key = certificate(tmp_path / "good")
    other, other_key = certificate(tmp_path / "other")
    _, locked = certificate(tmp_path / "locked", password=b"secret")
    assert "both" in refusal(ssl_certfile=good)
    assert "both" in refusal(ssl_keyfile=key)
    for certfile, keyfile in ((good, other_key), (other, locked), (good, str(tmp_path / "none")), (key, key)):
        assert "can't be used" in refusal(ssl_certfile=certfile, ssl_keyfile=keyfile)


def test_it_reaches_the_process_that_serves(tmp_path: Path) -> None:
    for binding in (
        Binding("0.0.0.0", 5001, *certificate(tmp_path)),
        Binding("::1", 5000, behind_proxy="10.0.0.5,10.1.0.0/16"),
        Binding("0.0.0.0", 1, insecure_http=True),
    ):
        assert Binding.read(binding.environment()) == binding


def test_the_command_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables in ({}, {"LOCKGATE_INSECURE_HTTP": "false"}):
        refused = CliRunner(env=variables).invoke(main, ["server", "--host", "0.0.0.0"])
        assert refused.exit_code == 2
        assert "--insecure-http" in refused.output
