"""Bodies of calls that are read as a whole before the application is called, and given to it again."""

from starlette.types import Message, Receive


async def read(receive: Receive, limit: int) -> list[Message] | None:
    """Return the messages that bring a body; None once they bring more than `limit` bytes."""
    messages: list[Message] = []
    size = 0
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if size > limit:
            return None
        if message["type"] != "http.request" or not message.get("more_body", False):
            return messages


def again(messages: list[Message], receive: Receive) -> Receive:
    """Return what gives messages that have been read once more, and then what comes after them."""
    left = iter(messages)

    async def next_message() -> Message:
        kept = next(left, None)
        return kept if kept is not None else await receive()

    return next_message


def content(messages: list[Message]) -> bytes:
    """Return the body that messages bring."""
    return b"".join(message.get("body", b"") for message in messages)
