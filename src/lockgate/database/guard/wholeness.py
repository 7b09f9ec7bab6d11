"""Is the guard whole: is it the one that belongs there, and does it know the policy in force?"""

from sqlalchemy.orm import Session

from lockgate.database import policies, protected
from lockgate.database.guard.differences import differences


def what_is_wrong(session: Session) -> list[str]:
    """Return how the guard differs from what it should be, each difference a sentence; nothing if it is whole.

    Args:
        session: A session that reads.
    """
    wanted = {str(target) for target in policies.current(session).policy.protected_targets()}
    known = protected.read(session)
    return [
        *differences(session.connection()),
        *(f"The guard does not know that the policy protects {target}." for target in sorted(wanted - known)),
        *(f"The guard protects {target}, and the policy does not." for target in sorted(known - wanted)),
    ]
