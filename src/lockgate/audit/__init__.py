"""Step 6a, what happened: one entry for every mutation and every refused promotion, in the transaction of the
change itself.

In: who did what to what, before and after. Out: an `AuditEntry`. No I/O.
"""
