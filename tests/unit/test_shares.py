"""How a process shares the lanes that it delivers for."""

from lockgate.database.deliveries import Lane
from lockgate.delivery.shares import LANES, LANES_OF_ONE, busy_with


def lanes(webhook: str, many: int, maker: int = 1) -> list[Lane]:
    return [Lane(webhook, f"model-{number}", 1, maker) for number in range(many)]


def many_of(maker: int, many: int) -> list[Lane]:
    return [Lane(f"webhook-{maker}-{number}", "m", 1, maker) for number in range(many)]


def test_a_webhook_has_a_few_lanes() -> None:
    busy = busy_with([*lanes("slow", LANES_OF_ONE), *lanes("other", LANES_OF_ONE - 1)], {}, 0)
    assert busy is not None
    assert busy.webhooks == {"slow"}


def test_one_maker_gets_half_of_the_lanes_and_the_next_half_of_the_rest() -> None:
    claimed: list[Lane] = []
    shares = []
    for maker in range(1, 6):
        for number in range(LANES):
            busy = busy_with(claimed, {}, 0)
            assert busy is not None
            if maker in busy.makers:
                shares.append(number)
                break
            claimed += [Lane(f"webhook-{maker}-{number}", "m", 1, maker)]
    assert shares == [50, 25, 13, 6, 3]


def test_there_is_an_end_of_it() -> None:
    assert busy_with(many_of(1, LANES), {}, 0) is None
    assert busy_with([], {}, 0) is not None


def test_a_webhook_that_has_failed_is_left_alone_for_a_while() -> None:
    busy = busy_with([], {"dead": 5.0, "well-again": 1.0}, 2.0)
    assert busy is not None
    assert busy.webhooks == {"dead"}
