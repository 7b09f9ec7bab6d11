"""Payload dialects: how an event is said to one kind of receiver, a file a kind; `named` has them by name.

In: an event as the outbox holds it, who is told, the attempt. Out: the HTTP call, signed. No I/O but for reading
templates once.
"""
