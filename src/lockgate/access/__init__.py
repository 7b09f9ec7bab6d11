"""Who is calling and what they may do.

In: credentials, roles, patterns over model names. Out: a `Caller`, and yes or no with the reason. No I/O.
"""
