"""Step 1, someone asks: targets, the promotion request, its states and the allowed changes between them.

In: the words of a call. Out: a `Target`, a `PromotionRequest`. No I/O.
"""
