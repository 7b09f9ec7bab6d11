"""The story: ask, review, promote, roll back. Each begins a transaction, checks the right, loads, calls the pure
steps, saves, writes audit entry and event, and commits.

In: a caller's wish. Out: the request or decision it led to, or a refusal.
"""
