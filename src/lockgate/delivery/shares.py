"""How a process shares the lanes that it delivers for: no webhook and nobody's webhooks take others' place. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping

from lockgate.database.deliveries import Busy, Lane

#: From how many lanes on one process claims no more, and how many of one webhook: a slow one leaves room for others.
#: As many as LANES_OF_ONE are claimed in one go, so it may come to a few more of each.
LANES = 100
LANES_OF_ONE = 4


def busy_with(claimed: Collection[Lane], resting: Mapping[str, float], now: float) -> Busy | None:
    """Return whose lanes to leave alone; None if there is no room for any.

    Webhooks of one maker get no more lanes than are free after that: who is alone, half of them; who comes next, half
    of the rest. So there is room for one more always, however many hang.

    Args:
        claimed: The lanes that the process delivers for now.
        resting: The webhooks that have failed, and until when none of their lanes is begun with: what can't be
            reached costs an attempt now and then, and not one for each of its models at once.
        now: The time, by the same clock.
    """
    free = LANES - len(claimed)
    if free <= 0:
        return None
    webhooks, makers = Counter(lane.webhook_id for lane in claimed), Counter(lane.maker for lane in claimed)
    return Busy(
        frozenset(
            {webhook for webhook, lanes in webhooks.items() if lanes >= LANES_OF_ONE}
            | {webhook for webhook, until in resting.items() if until > now}
        ),
        frozenset(maker for maker, lanes in makers.items() if lanes >= free),
    )
