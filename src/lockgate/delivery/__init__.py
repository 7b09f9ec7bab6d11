"""Step 7, the world is told: calls go out to whoever wants to know.

In: an HTTP call, as a dialect of `lockgate.events` says it. Out: what its receiver answered, or in one sentence why it
did not. A receiver can be anybody's, and so can the name that leads to it: nothing that it does may harm the sender, or
let somebody look where they can't reach.
"""
