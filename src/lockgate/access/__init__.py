"""Who is calling, what they may do and what they may see.

In: credentials, claims, roles, caveats, patterns over names, an access file. Out: a `Caller`, what a route of MLflow's
needs, yes or no with the reason, a plan of what changes. No I/O.
"""
