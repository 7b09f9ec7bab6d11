"""Step 6b, what must be told: the closed list of event types, and the dialects in which they are told. Events are
written to the outbox in the transaction of the change.

In: an audit entry; an event from the outbox. Out: the event that tells of it; the call that tells somebody. No I/O.
"""
