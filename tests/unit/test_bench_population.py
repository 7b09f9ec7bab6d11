"""What servers are compared on is always the same, and hangs together."""

from collections import Counter

import pytest
from bench.population import Population, serving_of


@pytest.mark.parametrize("size", [Population(100, 20), Population(5_000, 300), Population(30_000, 100)])
def test_there_are_as_many_versions_as_were_asked_for(size: Population) -> None:
    versions = list(size.all())
    assert len(versions) == size.versions
    assert [one.index for one in versions] == list(range(size.versions))
    assert len({(one.model, one.number) for one in versions}) == size.versions


def test_a_model_has_as_many_versions_as_each_of_them_says() -> None:
    versions = list(Population(5_000, 300).all())
    counted = Counter(one.model for one in versions)
    assert all(one.siblings == counted[one.model] for one in versions)


@pytest.mark.parametrize(
    ("versions", "depths"), [(20, (10,)), (2_019, (10,)), (2_020, (10, 1_000)), (22_020, (10, 1_000, 10_000))]
)
def test_deep_models_take_up_half_of_all_at_most(versions: int, depths: tuple[int, ...]) -> None:
    assert Population(versions, 20).depths == depths


def test_the_first_version_of_a_model_is_the_one_that_is_there() -> None:
    size = Population(5_000, 300)
    there = {(one.model, one.number): one for one in size.all()}
    for number in (0, 1, 299, 300, 12_345):
        first = size.first(number)
        assert there[first.model, 1] == first


def test_one_version_of_a_model_serves_and_has_its_alias() -> None:
    size = Population(500, 30)
    serving = Counter(one.model for one in size.all() if one.stage == "Production")
    assert set(serving.values()) == {1}
    [aliases] = [rows for rows in size.rows() if rows.table == "registered_model_aliases"]
    in_production = {(one.model, one.number) for one in size.all() if one.stage == "Production"}
    assert {(name, number) for name, _, number in aliases.values} == in_production


@pytest.mark.parametrize(("siblings", "number"), [(0, 0), (1, 1), (2, 2), (10, 6)])
def test_who_serves_is_one_of_those_there(siblings: int, number: int) -> None:
    assert serving_of(siblings) == number


def test_rows_fit_their_columns_and_are_the_same_each_time() -> None:
    size = Population(100, 20)

    def rows() -> list[tuple[str, list[tuple[object, ...]]]]:
        return [(part.table, [tuple(row) for row in part.values]) for part in size.rows()]

    assert rows() == rows()
    assert all(len(row) == len(part.columns) for part in size.rows() for row in part.values)
