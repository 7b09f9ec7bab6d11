"""The `lockgate` command. Commands that talk to a server import neither MLflow nor the server.

But `evaluate`, which runs models where you are, imports MLflow once it runs.

In: words on a command line. Out: words for people, or JSON; exit code 0 done, 1 refused or failed, 2 wrong usage.
"""
