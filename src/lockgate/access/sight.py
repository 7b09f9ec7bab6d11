"""What somebody may see: everything, or the registered models and experiments whose names match their patterns."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from lockgate.access.principals import Caller, Principal
from lockgate.access.roles import PERMISSIONS, Permission
from lockgate.errors import NotFound


@dataclass(frozen=True)
class Sight:
    """The names that somebody whose reading is limited may see.

    `Principal.may(Permission.READ, name)` is the rule; this is the same as data, for a search to be narrowed with.
    """

    #: A name is seen if, in each of these, it matches at least one pattern.
    all_of: tuple[tuple[str, ...], ...]

    def shows(self, name: str) -> bool:
        """Say whether a name may be seen."""
        return all(any(fnmatchcase(name, pattern) for pattern in patterns) for patterns in self.all_of)


def sight_of(principal: Principal) -> Sight | None:
    """Return what somebody may see; None if that is everything."""
    if principal.may(Permission.READ):
        return None
    patterns = (binding.pattern for binding in principal.bindings if Permission.READ in PERMISSIONS[binding.role])
    seen = tuple(dict.fromkeys(patterns)) if principal.active else ()
    left = (caveat.on if caveat.permits_somewhere(Permission.READ) else () for caveat in principal.caveats)
    return Sight((seen, *(on for on in left if on is not None)))


def sees(caller: Caller, name: str) -> bool:
    """Say whether a caller may see the registered model or experiment of a name."""
    return caller.principal.may(Permission.READ, name)


def must_see(caller: Caller, model: str) -> None:
    """Let a caller who may not see a registered model hear what they would hear if there were none.

    Raises:
        NotFound: in MLflow's words.
    """
    if not sees(caller, model):
        raise NotFound(f"Registered Model with name={model} not found")
