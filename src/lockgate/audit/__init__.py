"""Step 6a, what happened, provably: one entry for every mutation and every refusal of one, in the transaction of the
change itself; the hash chain that they make, checkpoints of it, decisions as bundles, and the proof of all that.

In: who did what to what, before and after. Out: an `AuditEntry`, its line, what is signed. No I/O. Needs neither MLflow
nor a server.
"""
