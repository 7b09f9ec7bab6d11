"""What somebody may see, as a rule and as databases understand it."""

import re
import sqlite3
from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockgate.access.caveats import Caveat, caveats_of
from lockgate.access.patterns import as_glob, as_regex
from lockgate.access.principals import Principal
from lockgate.access.roles import Permission, Role, RoleBinding
from lockgate.access.sight import Sight, sight_of
from lockgate.errors import BadInput
from lockgate.server.paging import Listing

# What means something to `fnmatch`, GLOB, LIKE or a regular expression, and some that mean nothing to any.
_CHARACTERS = "ab[]!^-*?\\z%_.$(|{é\n A"
_patterns = st.text(_CHARACTERS, max_size=8)
_names = st.text(_CHARACTERS, max_size=4)


@settings(max_examples=2_000, deadline=None)
@given(_patterns, _names)
@example("[b-a!c]", "x")
@example("[^]", "^")
@example("[!]]", "]")
@example("[]-a]", "^")
@example("[a", "[a")
def test_a_pattern_means_the_same_to_a_database(pattern: str, name: str) -> None:
    wanted = fnmatchcase(name, pattern)
    glob, regex = as_glob(pattern), as_regex(pattern)
    with sqlite3.connect(":memory:") as sqlite:
        found = glob is not None and bool(sqlite.execute("SELECT ? GLOB ?", (name, glob)).fetchone()[0])
    assert found is wanted, glob
    # Python's expressions read ours as PostgreSQL does, but for where lines end.
    assert (regex is not None and bool(re.fullmatch(regex[1:-1], name, re.DOTALL))) is wanted, regex


_ANN = Principal(1, "ann", bindings=(RoleBinding(Role.VIEWER, "pay-*"), RoleBinding(Role.REVIEWER, "*-[ab]")))


@pytest.mark.parametrize("name", ["pay-x", "pay-a", "PAY-x", "x-a", "x-c", "pay", ""])
@pytest.mark.parametrize(
    "who",
    [
        _ANN,
        replace(_ANN, caveats=caveats_of([], ["*-a", "p*"])),
        replace(_ANN, caveats=(*caveats_of(["promote"], ["*-a"]), *caveats_of([], ["pay-*"]))),
        Principal(2, "adm", bindings=(RoleBinding(Role.ADMIN),), caveats=caveats_of([], ["pay-*"])),
        Principal(2, "adm", bindings=(RoleBinding(Role.ADMIN),), caveats=(Caveat(only=frozenset()),)),
    ],
    ids=["a role", "a token", "a token of a token", "an admin's token", "a token that reads nothing"],
)
def test_sight_is_the_permission_to_read(who: Principal, name: str) -> None:
    sight = sight_of(who)
    assert sight is not None
    assert sight.shows(name) is who.may(Permission.READ, name)


def test_who_reads_everything_is_not_limited() -> None:
    everything = Principal(1, "ann", bindings=(RoleBinding(Role.VIEWER, "pay-*"), RoleBinding(Role.RELEASER)))
    assert sight_of(everything) is None


def test_who_is_deactivated_or_has_no_role_sees_nothing() -> None:
    for nobody in (Principal(1, "ann"), Principal(1, "ann", active=False, bindings=(RoleBinding(Role.ADMIN),))):
        sight = sight_of(nobody)
        assert sight is not None
        assert not sight.shows("anything")


def test_each_group_of_patterns_must_match() -> None:
    sight = Sight((("pay-*", "tax-*"), ("*-eu",)))
    assert [name for name in ("pay-eu", "tax-eu", "pay-us", "hr-eu") if sight.shows(name)] == ["pay-eu", "tax-eu"]


_LISTING = Listing("requests", ("open", None, "model-a"))


def test_a_page_token_leads_on_in_its_own_list() -> None:
    token = _LISTING.token(42)
    assert _LISTING.start(token) == 42
    assert _LISTING.start(None) is None
    assert _LISTING.token(None) is None


@pytest.mark.parametrize(
    "other",
    [
        Listing("audit", ("open", None, "model-a")),
        Listing("requests", ("open", "model-a", None)),
        Listing("requests", ("open", None, "model-b")),
        Listing("requests"),
    ],
)
def test_a_page_token_of_another_list_is_refused(other: Listing) -> None:
    with pytest.raises(BadInput, match="Start again without one"):
        _LISTING.start(other.token(42))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda raw: raw.hex()))
@example("")
@example("NDI=")
@example("LTEuYWJj")
def test_what_is_no_page_token_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="Start again without one"):
        _LISTING.start(text)
