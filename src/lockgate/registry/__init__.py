"""Step 6, the registry changes: the one way in. Subclasses of MLflow's stores run MLflow's own methods inside our
transaction and ask the gate before any pointer moves.

In: a call of MLflow's handlers, the caller. Out: what MLflow's method returns, or a refusal.
"""
