"""Databricks' permission levels, as near to roles as a ladder comes."""

import pytest

from lockgate.access.principals import Principal
from lockgate.access.roles import Role, RoleBinding
from lockgate.gates.document import read_policy
from lockgate.workflow.describe import Level, level_of

BOTH = "version: 1\nrules: [{name: r, models: '*', targets: [stage:Staging, stage:Production], approvals: {required: 1}}]\n"
PRODUCTION = BOTH.replace("stage:Staging, ", "")
NONE = "version: 1\nrules: []\n"


@pytest.mark.parametrize(
    ("role", "protects_both", "protects_production", "protects_none"),
    [
        (Role.VIEWER, Level.READ, Level.READ, Level.READ),
        (Role.CONTRIBUTOR, Level.EDIT, Level.STAGING, Level.PRODUCTION),
        (Role.REVIEWER, Level.PRODUCTION, Level.PRODUCTION, Level.READ),
        (Role.RELEASER, Level.PRODUCTION, Level.PRODUCTION, Level.READ),
        (Role.OPERATOR, Level.PRODUCTION, Level.PRODUCTION, Level.READ),
        (Role.MAINTAINER, Level.MANAGE, Level.MANAGE, Level.MANAGE),
        (Role.ADMIN, Level.MANAGE, Level.MANAGE, Level.MANAGE),
    ],
)
def test_levels(role: Role, protects_both: Level, protects_production: Level, protects_none: Level) -> None:
    somebody = Principal(1, "somebody", bindings=(RoleBinding(role),))
    levels = [level_of(somebody, read_policy(source), "m") for source in (BOTH, PRODUCTION, NONE)]
    assert levels == [protects_both, protects_production, protects_none]


def test_a_role_counts_where_it_is_bound() -> None:
    somebody = Principal(1, "somebody", bindings=(RoleBinding(Role.MAINTAINER, "payments-*"), RoleBinding(Role.VIEWER)))
    policy = read_policy(BOTH)
    assert (level_of(somebody, policy, "payments-risk"), level_of(somebody, policy, "fraud")) == (
        Level.MANAGE,
        Level.READ,
    )
