"""The policy file as text, and the default one."""

from lockgate.document import read_document
from lockgate.gates.policy import (
    Approvals,
    BreakGlass,
    Changes,
    FreezeWindow,
    Gate,
    Policy,
    Promote,
    Requirements,
    Rollback,
    Rule,
    SameDataset,
    SoakTime,
)

#: In force until somebody applies a policy.
DEFAULT_POLICY = """\
version: 1
rules:
  - name: default
    models: "*"
    targets: [stage:Production, alias:champion]
    approvals: {required: 1}
"""


_PARTS = (
    Policy,
    Rule,
    Gate,
    Requirements,
    SoakTime,
    SameDataset,
    Approvals,
    Promote,
    Rollback,
    BreakGlass,
    FreezeWindow,
    Changes,
)


def read_policy(text: str) -> Policy:
    """Read a policy from YAML.

    Args:
        text: The file's content.

    Returns:
        The validated policy.

    Raises:
        BadInput: naming each line that is wrong and what is allowed there.
    """
    return read_document(text, Policy, "policy", _PARTS)
