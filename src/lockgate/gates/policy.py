"""The policy: rules that say what must hold before a target moves."""

import re
from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from lockgate.access.selectors import Selector
from lockgate.errors import BadInput
from lockgate.gates.expression import check_expression
from lockgate.gates.freeze import WeekTime
from lockgate.gates.naming import Naming
from lockgate.promotions.target import Target

_DURATION = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
DEFAULT_EXPIRY = timedelta(days=7)
DEFAULT_REVIEW_TIME = timedelta(hours=24)


def _duration(value: object) -> timedelta:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError("write a number and a unit: 30s, 15m, 24h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _target(value: object) -> Target:
    try:
        return Target.parse(str(value))
    except BadInput as error:
        raise ValueError(error.message) from None


def _selector(value: object) -> Selector:
    try:
        return Selector.parse(str(value))
    except BadInput as error:
        raise ValueError(error.message) from None


def _expression(value: object) -> str:
    try:
        return check_expression(str(value))
    except BadInput as error:
        raise ValueError(error.message) from None


def _time_zone(value: object) -> ZoneInfo:
    try:
        return ZoneInfo(str(value))
    except (KeyError, ValueError, OSError):
        raise ValueError("not a time zone; write a name such as Europe/Berlin or UTC") from None


def _one_or_many(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _same_dataset(value: object) -> object:
    if isinstance(value, bool):
        return {} if value else None
    return value


def _week_time(value: object) -> WeekTime:
    return WeekTime.parse(str(value))


_AsText = PlainSerializer(str)
Duration = Annotated[timedelta, BeforeValidator(_duration)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\w .\-]+$")]
CheckName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\w .\-/]+$")]
Pattern = Annotated[str, Field(min_length=1, max_length=256)]
TargetField = Annotated[Target, BeforeValidator(_target), _AsText]
SelectorField = Annotated[Selector, BeforeValidator(_selector), _AsText]
Selectors = Annotated[tuple[SelectorField, ...], BeforeValidator(_one_or_many)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, strict=False)


class Requirements(_Part):
    """What must be filled in: of the version, its run and its model."""

    description: bool = False
    signature: bool = False
    input_example: bool = False
    #: Files that are there and were hashed, so that approvals are about exactly these bytes.
    artifacts: bool = False
    run_tags: tuple[str, ...] = ()
    version_tags: tuple[str, ...] = ()
    model_tags: tuple[str, ...] = ()


class SoakTime(_Part):
    """Time that the version must have spent in another target, without a break until now."""

    target: TargetField
    for_: Duration = Field(alias="for")


class SameDataset(_Part):
    """Candidate and incumbent were measured on the same data: inputs of their runs with the same digests."""

    #: Context of the inputs that count, such as `evaluation`; without it all but those used for training.
    context: Annotated[str, Field(min_length=1, max_length=100)] | None = None


#: What a gate that does not pass leads to: the promotion is denied, there is a warning, or it is only put on record.
GateMode = Literal["deny", "warn", "audit"]
#: Which promotions a gate is for: all, first ones into an empty target, or those that replace an incumbent.
When = Literal["always", "first", "replacing"]

_CONDITIONS = ("expr", "check", "requires", "soak", "same_dataset")


class Gate(_Part):
    """One condition: exactly one of `expr`, `check`, `requires`, `soak` and `same_dataset`."""

    name: Name
    expr: Annotated[str, BeforeValidator(_expression)] | None = None
    check: CheckName | None = None
    requires: Requirements | None = None
    soak: SoakTime | None = None
    same_dataset: Annotated[SameDataset | None, BeforeValidator(_same_dataset)] = None
    mode: GateMode = "deny"
    when: When = "always"
    #: Who may report the check; without it any service account, and people who did not shape the version.
    from_: Selectors = Field(default=(), alias="from")

    @property
    def compares(self) -> bool:
        """Whether it may look at the incumbent. An expression that names it anywhere may, be it in a string."""
        is_named = self.expr is not None and "incumbent" in self.expr
        return is_named or self.same_dataset is not None or self.when != "always"

    @model_validator(mode="after")
    def _has_one_condition(self) -> Self:
        given = [name for name in _CONDITIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a gate has exactly one of: {', '.join(_CONDITIONS)}")
        if self.from_ and self.check is None:
            raise ValueError("`from` says who may report a check; this gate has none")
        return self


class Approvals(_Part):
    """How many people must approve, and who counts."""

    required: Annotated[int, Field(ge=0, le=20)] = 1
    from_: Selectors = Field(default=(), alias="from")

    @model_validator(mode="after")
    def _asks_somebody(self) -> Self:
        if self.from_ and not self.required:
            raise ValueError("`required: 0` asks nobody; leave `from` out, or ask for 1 or more")
        return self


class Promote(_Part):
    """Who carries out an approved promotion, or that the last approval does."""

    by: Selectors = ()
    on: Literal["approval"] | None = None

    @model_validator(mode="after")
    def _has_one_way(self) -> Self:
        if bool(self.by) == (self.on is not None):
            raise ValueError("write either `by: [...]` or `on: approval`")
        return self


class Rollback(_Part):
    """Who may roll back, among those with the role for it, and whether freeze windows bind them too."""

    by: Annotated[Selectors, Field(min_length=1)] | None = None
    respects_freeze: bool = False


class BreakGlass(_Part):
    """How the gate is passed in an emergency: by whom, among those with the role for it, and what must follow."""

    by: Annotated[Selectors, Field(min_length=1)] | None = None
    #: Whether a ticket must be named.
    ticket: Literal["required", "optional"] = "optional"
    #: Within what time a second person must review it; then nothing is promoted until somebody has.
    review_within: Duration = DEFAULT_REVIEW_TIME


class FreezeWindow(_Part):
    """A part of each week in which nothing is promoted."""

    name: Name
    from_: Annotated[WeekTime, BeforeValidator(_week_time), _AsText] = Field(alias="from")
    to: Annotated[WeekTime, BeforeValidator(_week_time), _AsText]
    timezone: Annotated[ZoneInfo, BeforeValidator(_time_zone), _AsText] = ZoneInfo("UTC")


class Rule(_Part):
    """What must hold before certain targets of certain models move."""

    name: Name
    models: Annotated[tuple[Pattern, ...], BeforeValidator(_one_or_many), Field(min_length=1)]
    targets: Annotated[tuple[TargetField, ...], BeforeValidator(_one_or_many), Field(min_length=1)]
    gates: tuple[Gate, ...] = ()
    approvals: Annotated[tuple[Approvals, ...], BeforeValidator(_one_or_many)] = ()
    promote: Promote | None = None
    freeze: tuple[FreezeWindow, ...] = ()
    expires_after: Duration = DEFAULT_EXPIRY
    rollback: Rollback | None = None
    break_glass: BreakGlass | None = None
    #: Whether a rejected version that is staged goes back to no stage.
    on_rejection: Literal["keep", "unstage"] = "keep"
    #: In `audit` mode a rule refuses nothing; what it would have refused is put on record.
    mode: Literal["enforce", "audit"] = "enforce"

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        _refuse_duplicates("gate", [gate.name for gate in self.gates])
        return self

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        for gate in self.gates:
            if gate.soak is not None and gate.soak.target in self.targets:
                raise ValueError(
                    f"gate '{gate.name}' wants a version to have held {gate.soak.target} before it may go there; soak "
                    "in another target, or give the targets rules of their own"
                )
        return self

    def covers(self, model: str, target: Target) -> bool:
        """Say whether the rule applies to this target of this model."""
        return target in self.targets and any(fnmatchcase(model, pattern) for pattern in self.models)

    @property
    def moves_on_approval(self) -> bool:
        """Whether the last approval itself moves the target."""
        return self.promote is not None and self.promote.on == "approval"


class Changes(_Part):
    """Who must approve a policy that is weaker than the one in force; whoever applies it does not count."""

    approvals: Annotated[tuple[Approvals, ...], BeforeValidator(_one_or_many), Field(min_length=1)]


class Policy(_Part):
    """The whole policy file."""

    version: Literal[1]
    naming: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    rules: tuple[Rule, ...]
    #: What a change of the policy needs if it weakens it.
    changes: Changes | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        _refuse_duplicates("rule", [rule.name for rule in self.rules])
        if self.naming is not None:
            Naming.parse(self.naming)
        return self

    @property
    def enforced(self) -> tuple[Rule, ...]:
        """The rules that refuse; the others are in audit mode."""
        return tuple(rule for rule in self.rules if rule.mode == "enforce")

    def protects(self, target: Target) -> bool:
        """Say whether any enforced rule names the target: then it is closed to models that no rule covers."""
        return target in self.protected_targets()

    def rules_for(self, model: str, target: Target) -> tuple[Rule, ...]:
        """Return the enforced rules for a target of a model. They add up: all of them must be met."""
        return tuple(rule for rule in self.enforced if rule.covers(model, target))

    def audited_rules_for(self, model: str, target: Target) -> tuple[Rule, ...]:
        """Return the rules for a target of a model that are in audit mode."""
        return tuple(rule for rule in self.rules if rule.mode == "audit" and rule.covers(model, target))

    def governs(self, model: str) -> bool:
        """Say whether any enforced rule is about a model."""
        return any(rule.covers(model, target) for rule in self.enforced for target in rule.targets)

    def protected_targets(self) -> frozenset[Target]:
        """Return all targets that some enforced rule names: each of them is closed, for every model."""
        return frozenset(target for rule in self.enforced for target in rule.targets)

    def protected_aliases(self) -> frozenset[str]:
        """Return the names of all aliases that some enforced rule names."""
        return frozenset(t.name for rule in self.enforced for t in rule.targets if t.kind == "alias")

    def named(self) -> frozenset[Selector]:
        """Return the groups, roles and accounts that the policy names."""
        return frozenset(_selectors_in(self))

    def check_name(self, model: str) -> None:
        """Refuse a name for a new model that the naming pattern does not allow.

        Raises:
            BadInput: with what is wrong and a name that would do.
        """
        if self.naming is not None:
            Naming.parse(self.naming).check(model)


def _selectors_in(part: object) -> Iterator[Selector]:
    match part:
        case Selector():
            yield part
        case _Part():
            for name in type(part).model_fields:
                yield from _selectors_in(getattr(part, name))
        case tuple():
            for one in part:
                yield from _selectors_in(one)


def _refuse_duplicates(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"more than one {what} is called {twice[0]!r}; give each a name of its own")
