"""The example for nginx, before instances that take a call and then are gone without an answer."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx
import pytest

from tests.certificates import certificate
from tests.deploy.compose import INSTANCES, nginx_before
from tests.house import Server, free_port

READY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class Dying:
    """An instance that answers /readyz, and whose connection breaks when it has taken another call."""

    taken: list[str] = field(default_factory=list)
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                method, path, *_ = connection.recv(65536).decode().split(" ")
                if path == "/readyz":
                    connection.sendall(READY)
                else:
                    self.taken.append(method)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@dataclass(frozen=True)
class Front:
    nginx: Server
    instances: list[Dying]

    def taken(self) -> list[str]:
        return [method for instance in self.instances for method in instance.taken]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("nginx")
    certificate(folder / "tls")
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("SSL_CERT_FILE", str(folder / "tls/certificate.pem"))
        instances = []
        for _ in INSTANCES:
            instance = Dying()
            stack.callback(instance.close)
            threading.Thread(target=instance.serve, daemon=True).start()
            instances.append(instance)
        ports = dict(zip(INSTANCES, (instance.port for instance in instances), strict=True))
        nginx = nginx_before(folder, {**ports, "nginx": free_port()})
        # Else both would be left out after two calls.
        file = folder / "nginx.conf"
        assert "max_fails=2" in file.read_text()
        file.write_text(file.read_text().replace("max_fails=2", "max_fails=0"))
        stack.callback(nginx.stop)
        nginx.start()
        yield Front(nginx, instances)


@pytest.mark.parametrize("body", [None, b"{}"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_change_that_an_instance_has_taken_is_not_sent_to_the_other(
    front: Front, method: str, body: bytes | None
) -> None:
    before = len(front.taken())
    answer = httpx.request(method, f"{front.nginx.uri}/api/lockgate/v1/tokens/1", content=body)
    assert answer.status_code == 502
    assert len(front.taken()) == before + 1


def test_what_only_reads_is(front: Front) -> None:
    before = len(front.taken())
    assert httpx.get(f"{front.nginx.uri}/api/lockgate/v1/requests").status_code == 502
    assert len(front.taken()) == before + len(INSTANCES)
