"""What callers import to talk to a server. Installs and imports without the server.

In: a call. Out: the server's JSON, or an error that says what is missing.
"""
