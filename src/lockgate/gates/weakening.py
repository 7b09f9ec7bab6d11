"""What a new policy demands less than the old one.

Conservative: what is not provably at least as strict counts as weaker. A setting that nobody has written a comparison
for counts as weaker whenever it is changed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel

from lockgate.access.roles import PERMISSIONS, Permission, Role
from lockgate.access.selectors import Selector, join
from lockgate.gates.narrower import Selectors, Within, pattern_within, selectors_within, unfilled, window_within
from lockgate.gates.policy import (
    DEFAULT_REVIEW_TIME,
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
    SoakTime,
)
from lockgate.promotions.target import Target

Named = TypeVar("Named", Rule, Gate)
#: Says what is weaker about a new value of a setting: the rest of a sentence that begins with whose setting it is.
_Comparison = Callable[[Any, Any], Iterable[str]]

#: What a weaker policy needs where `changes` says nothing: one more person who may change policies.
DEFAULT_CHANGES = Changes.model_validate({"approvals": {}})
#: Those who may change policies.
GOVERNORS = tuple(Selector("role", role) for role in Role if Permission.GOVERN in PERMISSIONS[role])


def weakenings(old: Policy, new: Policy) -> list[str]:
    """Return a sentence for each way in which a policy demands less than the one before it.

    Args:
        old: The policy that is in force.
        new: The one that shall take its place.
    """
    found = [
        *_naming(old, new),
        *_protection(old, new),
        *_rules(old, new),
        *_openings(old, new),
        *_review_times(old, new),
        *_changes(old, new),
    ]
    return list(dict.fromkeys(found))


# The policy


def _naming(old: Policy, new: Policy) -> Iterator[str]:
    if old.naming not in (None, new.naming):
        yield f"New models need not be named {old.naming} any more."


def _protection(old: Policy, new: Policy) -> Iterator[str]:
    for target in _protected(old):
        if not new.protects(target):
            yield f"{target} is no longer protected."


def _protected(policy: Policy) -> list[Target]:
    return list(dict.fromkeys(target for rule in policy.enforced for target in rule.targets))


def _rules(old: Policy, new: Policy) -> Iterator[str]:
    same = {_nameless(rule) for rule in new.rules}
    by_name = {rule.name: rule for rule in new.rules}
    for rule in old.rules:
        if _nameless(rule) in same:
            continue
        if rule.name not in by_name:
            yield f"Rule '{rule.name}' is gone."
            continue
        yield from (f"Rule '{rule.name}' {clause}." for clause in _clauses(rule, by_name[rule.name], _RULE))


def _nameless(named: Named) -> Named:
    return named.model_copy(update={"name": ""})


def _openings(old: Policy, new: Policy) -> Iterator[str]:
    """A target is shut to models that no rule covers: a rule for such a model is a way in."""
    for target in _protected(old):
        covered = {pattern for rule in old.enforced if target in rule.targets for pattern in rule.models}
        for rule in new.enforced:
            opened = [p for p in rule.models if target in rule.targets and not pattern_within(p, covered)]
            if opened:
                yield f"Rule '{rule.name}' opens {target} to models that it was closed to: {_quoted(opened)}."


def _review_times(old: Policy, new: Policy) -> Iterator[str]:
    """The shortest time that a rule sets counts, and the default where none does.

    So what a rule leaves open is bound by what other rules set, and a rule that sets more than the default can make
    the time longer for models that other rules cover too.
    """
    times = {rule.name: rule.break_glass.review_within for rule in new.rules if rule.break_glass}
    longest = max((DEFAULT_REVIEW_TIME, *times.values()))
    before = {_coverage(rule): rule.break_glass.review_within for rule in old.enforced if rule.break_glass}
    kept = {_nameless(rule): rule.name for rule in new.rules}
    for rule in new.enforced:
        if times.get(rule.name, DEFAULT_REVIEW_TIME) > max(DEFAULT_REVIEW_TIME, before.get(_coverage(rule), _NO_TIME)):
            yield _later(rule.name, times[rule.name])
    for rule in old.rules:
        name = kept.get(_nameless(rule), rule.name)
        if rule.break_glass and times.get(name, longest) > rule.break_glass.review_within:
            yield _later(name, times.get(name, longest))


_NO_TIME = timedelta(0)


def _coverage(rule: Rule) -> tuple[frozenset[str], frozenset[Target]]:
    return frozenset(rule.models), frozenset(rule.targets)


def _later(rule: str, time: timedelta) -> str:
    return f"Rule '{rule}' lets a break-glass go without a review for longer, up to {_span(time)}."


def _changes(old: Policy, new: Policy) -> Iterator[str]:
    if old.changes and not new.changes:
        yield "Weaker policies need no approval of those whom `changes` named."
        return
    before, after = old.changes or DEFAULT_CHANGES, new.changes or DEFAULT_CHANGES
    for clause in _approvals(before.approvals, after.approvals, _within_governors):
        yield f"A weaker policy {clause}."


def _within_governors(selectors: Selectors, others: Selectors) -> bool:
    """As `selectors_within`, where none at all name those who may change policies."""
    if others:
        return selectors_within(selectors, others)
    return set(selectors) <= set(GOVERNORS)


# Settings in general


def _clauses(old: BaseModel, new: BaseModel, how: Mapping[str, _Comparison]) -> Iterator[str]:
    for name, field in type(old).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if name in how:
            yield from how[name](before, after)
        else:
            yield f"has another `{field.alias or name}`, which may be weaker"


def _no_matter(_before: object, _after: object) -> Iterable[str]:
    return ()


def _no_less(order: tuple[Any, ...], clause: str) -> _Comparison:
    """Compare words that are in an order, from weak to strict."""

    def compare(before: Any, after: Any) -> Iterable[str]:
        return [clause.format(after)] if order.index(after) < order.index(before) else []

    return compare


def _who(what: str) -> _Comparison:
    def compare(before: Selectors | None, after: Selectors | None) -> Iterable[str]:
        if selectors_within(after or (), before or ()):
            return []
        return [
            f"lets {join(after) if after else 'everybody with the role for it'} {what}, not only {join(before or ())}"
        ]

    return compare


def _longer(clause: str) -> _Comparison:
    def compare(before: timedelta, after: timedelta) -> Iterable[str]:
        return [clause.format(_span(after), _span(before))] if after > before else []

    return compare


def _span(time: timedelta) -> str:
    seconds = int(time.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


# A rule


def _models(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[str]:
    if left := [pattern for pattern in before if not pattern_within(pattern, set(after))]:
        yield f"no longer covers the models {_quoted(left)}"


def _targets(before: tuple[Target, ...], after: tuple[Target, ...]) -> Iterator[str]:
    if left := [str(target) for target in before if target not in after]:
        yield f"no longer covers {', '.join(left)}"


def _gates(before: tuple[Gate, ...], after: tuple[Gate, ...]) -> Iterator[str]:
    same = {_nameless(gate) for gate in after}
    by_name = {gate.name: gate for gate in after}
    for gate in before:
        if _nameless(gate) in same:
            continue
        if gate.name not in by_name:
            yield f"has no gate '{gate.name}' any more"
            continue
        for clause in _gate(gate, by_name[gate.name]):
            yield f"has a gate '{gate.name}' that {clause}"


def _approvals(
    before: tuple[Approvals, ...], after: tuple[Approvals, ...], within: Within = selectors_within
) -> Iterator[str]:
    for demand, missing in unfilled(before, after, within):
        whose = f" from {join(demand.from_)}" if demand.from_ else ""
        yield f"needs {missing} approval{'s' if missing > 1 else ''}{whose} fewer, or from others"


def _promote(before: Promote | None, after: Promote | None) -> Iterable[str]:
    if after is not None and after.on is not None:
        return [] if before is not None and before.on == after.on else ["lets the last approval move the target"]
    return _who("carry out promotions")(before.by if before else (), after.by if after else ())


def _freeze(before: tuple[FreezeWindow, ...], after: tuple[FreezeWindow, ...]) -> Iterator[str]:
    for window in before:
        if window not in after and not any(window_within(window, other) for other in after):
            yield f"does not freeze all of '{window.name}' any more"


def _rollback(before: Rollback | None, after: Rollback | None) -> Iterator[str]:
    how: dict[str, _Comparison] = {
        "by": _who("roll back"),
        "respects_freeze": _no_less((False, True), "lets rollbacks go on in freeze windows"),
    }
    yield from _clauses(before or Rollback(), after or Rollback(), how)


def _break_glass(before: BreakGlass | None, after: BreakGlass | None) -> Iterator[str]:
    how: dict[str, _Comparison] = {
        "by": _who("break the glass"),
        "ticket": _no_less(("optional", "required"), "lets the glass be broken without a ticket"),
        # Rules bind each other here: see `_review_times`.
        "review_within": _no_matter,
    }
    yield from _clauses(before or BreakGlass(), after or BreakGlass(), how)


_RULE: dict[str, _Comparison] = {
    "name": _no_matter,
    "models": _models,
    "targets": _targets,
    "gates": _gates,
    "approvals": _approvals,
    "promote": _promote,
    "freeze": _freeze,
    "expires_after": _longer("lets requests live for {}, not {}"),
    "rollback": _rollback,
    "break_glass": _break_glass,
    "on_rejection": _no_less(("keep", "unstage"), "leaves rejected versions where they are staged"),
    "mode": _no_less(("audit", "enforce"), "refuses nothing any more: it is in audit mode"),
}


# A gate


def _gate(old: Gate, new: Gate) -> Iterator[str]:
    if _condition(old) != _condition(new):
        yield f"is about `{_condition(new)}` and not `{_condition(old)}` any more, which may be weaker"
        return
    yield from _clauses(old, new, _GATE)


def _condition(gate: Gate) -> str:
    return next(name for name in _CONDITIONS if getattr(gate, name) is not None)


def _requires(before: Requirements, after: Requirements) -> Iterator[str]:
    for name in Requirements.model_fields:
        was, now = getattr(before, name), getattr(after, name)
        if isinstance(was, bool):
            gone = [f"`{name}`"] if was and not now else []
        else:
            gone = [f"`{name}: {key}`" for key in was if key not in now]
        if gone:
            yield f"no longer requires {', '.join(gone)}"


def _soak(before: SoakTime, after: SoakTime) -> Iterator[str]:
    how: dict[str, _Comparison] = {
        "target": lambda was, now: [f"wants the time in {now}, not in {was}"],
        "for_": lambda was, now: [f"wants {_span(now)}, not {_span(was)}"] if now < was else [],
    }
    yield from _clauses(before, after, how)


def _when(before: str, after: str) -> Iterable[str]:
    return [] if after == "always" else [f"is only for promotions that are `{after}`, not `{before}`"]


_CONDITIONS: dict[str, _Comparison] = {
    "expr": lambda _was, _now: ["has another expression, which may be weaker"],
    "check": lambda was, now: [f"wants the check '{now}', not '{was}'"],
    "requires": _requires,
    "soak": _soak,
    "same_dataset": lambda _was, _now: ["compares other datasets, which may be weaker"],
}
_GATE: dict[str, _Comparison] = {
    "name": _no_matter,
    **_CONDITIONS,
    "mode": _no_less(("audit", "warn", "deny"), "is in the mode '{}' now"),
    "when": _when,
    "from_": _who("report the check"),
}
