"""What a promotion asks of the database. More statements are more time: `bench/promotions.py` says how much."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.house import House
from tests.statements import statements

POLICY = """\
version: 1
rules:
  - name: production
    models: "*"
    targets: [alias:champion, stage:Production]
    gates:
      - name: good enough
        expr: metrics.val_auc >= 0.8
    approvals: {required: 1, from: [group:senior]}
"""
#: Of all that a promotion needs, from the token to the event. Whoever raises it says why. 25, those that ask for the run
#: and the logged model of a `runs:/` source, and whether this server may still write to the database (`writers`).
MOST = 28
#: A stage's costs more: what version was in which stage before is asked first, and MLflow's own method moves it.
MOST_OF_A_STAGE = 37
#: Other servers of the tests use the same PostgreSQL; the least of several promotions is what one needs.
TRIED = 4


@pytest.mark.parametrize(("target", "most"), [("alias:champion", MOST), ("stage:Production", MOST_OF_A_STAGE)])
def test_a_promotion_takes_few_statements(
    postgres: str, new_database: Callable[[str], str], tmp_path: Path, target: str, most: int
) -> None:
    with closing(House(tmp_path, new_database("postgresql"))) as house:
        house.open().apply_policy(POLICY)
        counts = []
        for _ in range(TRIED):
            model = house.new_model(versions=2)
            house.promote(model, "1", target)
            asked = house.ask(model, "2", target)
            house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
            with statements(postgres) as told:
                house.call("bot", "POST", f"/requests/{asked['id']}/promote", {})
            counts.append(told)
    least = min(counts, key=len)
    assert len(least) <= most, "\n".join(least)


def test_the_decisions_of_requests_are_asked_for_at_once(
    postgres: str, new_database: Callable[[str], str], tmp_path: Path
) -> None:
    with closing(House(tmp_path, new_database("postgresql"))) as house:
        house.open().apply_policy(POLICY)
        model = house.new_model(versions=4)
        done = [house.promote(model, version, "alias:champion")["id"] for version in "123"]
        asked = house.ask(model, "4", "alias:champion")["id"]
        for path, most in (("", 1), (f"/{done[0]}", 1), (f"/{asked}", 0)):
            with statements(postgres) as told:
                house.call("vic", "GET", f"/requests{path}")
            about = [one for one in told if "FROM lockgate_decisions" in one and "request_id IN" in one]
            assert len(about) == most, "\n".join(told)
