"""The examples for a service and for proxies call what is there, and say what must be said."""

import re
import shlex
from pathlib import Path

from lockgate.cli.serve import server

ROOT = Path(__file__).parents[2]
UNIT = (ROOT / "deploy/systemd/lockgate.service").read_text()
NGINX = (ROOT / "deploy/nginx/lockgate.conf").read_text()


def test_the_service_starts_the_server_as_its_options_are() -> None:
    [command] = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    program, name, *options = shlex.split(command)
    assert (Path(program).name, name) == ("lockgate", "server")
    told = server.make_context("server", options).params
    known = {parameter.envvar for parameter in server.params}
    assert set(re.findall(r"^#   (\w+)=", UNIT, re.MULTILINE)) <= known
    assert f"server 127.0.0.1:{told['port']} " in NGINX
    assert told["behind_proxy"] == "127.0.0.1"


def test_each_setting_of_the_service_stands_in_a_section_once() -> None:
    settings = re.findall(r"^(\w+)=", UNIT, re.MULTILINE)
    assert len(settings) == len(set(settings))
    assert re.findall(r"^\[(\w+)\]$", UNIT, re.MULTILINE) == ["Unit", "Service", "Install"]
