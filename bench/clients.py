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
        self._connection.request("POST", path, json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"POST {path}: {answer.status} {content.decode()}")
        return json.loads(content) if content else None


@dataclass(frozen=True)
class Call:
    """What is sent."""

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


def load(uri: str, token: str | None, calls: Sequence[Call]) -> Load:
    """Send calls from eight clients at once, each sending its part one by one."""
    latencies: list[float] = []
    line = threading.Barrier(CLIENTS + 1)

    def send(mine: Sequence[Call]) -> None:
        client = Client(uri, token)
        line.wait()
        for call in mine:
            begun = time.perf_counter()
            client.post(call.path, call.body)
            latencies.append(time.perf_counter() - begun)

    with ThreadPoolExecutor(CLIENTS) as threads:
        sent = [threads.submit(send, calls[which::CLIENTS]) for which in range(CLIENTS)]
        line.wait()
        begun = time.perf_counter()
        for one in sent:
            one.result()
        return Load(time.perf_counter() - begun, tuple(sorted(latencies)))


def at_once(make: Callable[[int], T], number: int) -> list[T]:
    """Do something as often as is wanted, by as many threads as there are clients."""
    with ThreadPoolExecutor(CLIENTS) as threads:
        return list(threads.map(make, range(number)))
