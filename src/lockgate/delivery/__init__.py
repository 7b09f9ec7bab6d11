"""Step 7, the world is told: at least once, in order for each webhook and model, by whichever process lives.

In: events in the outbox, webhooks. Out: HTTP calls, and what came of each.
"""
