"""The guard: triggers by which the database itself refuses what the gate did not decide, and keeps the history.

In come the SQL files beside this one; out comes a database that has exactly what they say, or a list of what differs.
"""
