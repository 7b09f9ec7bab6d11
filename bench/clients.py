"""Clients that call a server at the same time, and how long each call takes."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

CLIENTS = 8


class Client:
    """One connection, kept open, as somebody. The standard library's, because it costs the least."""

    def __init__(self, uri: str, token: str | None = None) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(uri).netloc, timeout=60)
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def post(self, path: str, body: Any) -> Any:
        """Call and return the answer; anything but success is an error."""
        return self._call("POST", path, json.dumps(body))

    def send(self, call: "Call") -> Any:
        """Send a call: one without a body is a GET."""
        return self._call("GET", call.path, None) if call.body is None else self.post(call.path, call.body)

    def _call(self, method: str, path: str, body: str | None) -> Any:
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {content.decode()}")
        return json.loads(content) if content else None


@dataclass(frozen=True)
class Call:
    """What is sent: a POST, or a GET if it has no body."""

    path: str
    body: Any


@dataclass(frozen=True)
class Load:
    """How a server bore a load."""

    seconds: float
    #: Of each call, in seconds, shortest first.
    latencies: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.latencies) / self.seconds

    def latency(self, share: float) -> float:
        """Return the latency that a share of the calls kept, in milliseconds."""
        return self.latencies[int(share * (len(self.latencies) - 1))] * 1000


def load(uri: str, token: str | None, calls: Sequence[Call], clients: int = CLIENTS) -> Load:
    """Send calls from some clients at once, each sending its part one by one."""
    latencies: list[float] = []
    line = threading.Barrier(clients + 1)

    def send(mine: Sequence[Call]) -> None:
        client = Client(uri, token)
        line.wait()
        for call in mine:
            begun = time.perf_counter()
            client.send(call)
            latencies.append(time.perf_counter() - begun)

    with ThreadPoolExecutor(clients) as threads:
        sent = [threads.submit(send, calls[which::clients]) for which in range(clients)]
        line.wait()
        begun = time.perf_counter()
        for one in sent:
            one.result()
        return Load(time.perf_counter() - begun, tuple(sorted(latencies)))


def at_once(make: Callable[[int], T], number: int) -> list[T]:
    """Do something as often as is wanted, by as many threads as there are clients."""
    with ThreadPoolExecutor(CLIENTS) as threads:
        return list(threads.map(make, range(number)))
