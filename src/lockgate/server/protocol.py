"""uvicorn's HTTP protocol with a limit to what stands before a body: its parser takes headers without end."""

import json
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Of the request line and all headers together; as much as uvicorn's other parser takes.
MAX_HEAD: Final = 64 * 1024


class HeadTooLarge(Exception):
    """The caller sends more than a request needs before its body."""


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a request whose head is too large, while it comes in."""

    _in_head = False
    _head_so_far = 0

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._in_head = True
        self._head_so_far = 0

    def on_headers_complete(self) -> None:
        """Count what came at once."""
        self._in_head = False
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD:
            raise HeadTooLarge
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Count what has come, while the head has no end."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_so_far += len(data)
            if self._head_so_far > MAX_HEAD:
                self.send_400_response("")

    def send_400_response(self, msg: str) -> None:
        """Answer in MLflow's shape."""
        said = (
            f"The request's headers and address are larger than {MAX_HEAD // 1024} KB together, or are no HTTP. Send "
            "less, for example a long filter in the body of a POST."
        )
        body = json.dumps({"error_code": "BAD_REQUEST", "message": said}).encode()
        head = (
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        self.transport.write(head + body)
        self.transport.close()
