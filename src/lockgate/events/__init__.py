"""Step 6b, what must be told: the closed list of event types. Events are written to the outbox in the
transaction of the change.

In: an audit entry. Out: the event that tells of it. No I/O.
"""
