"""What callers import to talk to a server. Installs and imports without the server.

`evaluation`, `dataset` and `measurement` run models, in CI, and import MLflow; the rest does not.

In: a call. Out: the server's JSON, or an error that says what is missing.
"""
