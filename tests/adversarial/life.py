"""The life of promotions as a pure model: what may happen, who may do it, and what it changes.

It is the rules of `docs/policy.md` and `docs/decisions` written down a second time, as plainly as possible, without a
database, without times and without a line of the product. `test_life` holds the product to it.

A method that returns has changed the model, and names the audit entry that must tell of it. A `Refusal` has changed
nothing, but for what the product keeps on purpose: whoever is refused on record has looked at the request.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

PRODUCTION, STAGING, CHAMPION, CANARY = "stage:Production", "stage:Staging", "alias:champion", "alias:canary"
TARGETS = (PRODUCTION, CHAMPION, STAGING, CANARY)
LIVE = ("open", "approved")
NO_STAGE, ARCHIVED = "None", "Archived"

EVERYTHING = frozenset({"write", "review", "promote", "roll back", "govern"})
#: What each role permits: contributors write and ask, operators roll back and break the glass.
RIGHTS = {
    "viewer": frozenset[str](),
    "contributor": frozenset({"write"}),
    "reviewer": frozenset({"review"}),
    "releaser": frozenset({"promote"}),
    "operator": frozenset({"roll back"}),
    "maintainer": frozenset({"write", "govern"}),
    "admin": EVERYTHING,
}


class Refusal(Exception):
    """Something may not happen; `audited` is the action that a refusal on record carries."""

    def __init__(self, why: str, audited: str | None = None) -> None:
        super().__init__(why)
        self.audited = audited


@dataclass
class Person:
    """Somebody of the cast."""

    name: str
    roles: frozenset[str]
    is_senior: bool = False
    is_service: bool = False
    is_active: bool = True


@dataclass(frozen=True)
class Policy:
    """One rule over some targets of all models."""

    name: str
    targets: frozenset[str] = frozenset({PRODUCTION, CHAMPION})
    required: int = 1
    only_seniors: bool = False
    wants_check: bool = False
    on_approval: bool = False

    def rule_for(self, target: str) -> "Policy | None":
        return self if target in self.targets else None

    @property
    def source(self) -> str:
        """The policy file that says the same."""
        whose = ", from: [group:senior]" if self.only_seniors else ""
        return "\n".join(
            [
                f"# {self.name}",
                "version: 1",
                "rules:",
                "  - name: production",
                '    models: "*"',
                f"    targets: [{', '.join(sorted(self.targets))}]",
                f"    approvals: {{required: {self.required}{whose}}}",
                *(["    gates: [{name: tested, check: test}]"] if self.wants_check else []),
                *(["    promote: {on: approval}"] if self.on_approval else []),
                "",
            ]
        )


POLICIES = (
    Policy("one senior", only_seniors=True),
    Policy("two reviewers", required=2),
    Policy("tested, one senior", only_seniors=True, wants_check=True),
    Policy("the approval moves it", on_approval=True),
    Policy("only production", targets=frozenset({PRODUCTION}), only_seniors=True),
)


@dataclass(eq=False)
class Version:
    """A model version; its evidence is whatever a decision about it rests on."""

    model: "Model"
    number: int
    run_id: str
    registrar: str
    authors: set[str]
    metric: int = 0
    tag: str = "low"
    files: int = 0
    stage: str = NO_STAGE
    #: Who reported the check, whether it went well, and on what evidence.
    check: tuple[str, bool, object] | None = None
    #: Whether it was ever approved or moved past the gate, so that its files are known to matter.
    is_marked: bool = False
    is_deleted: bool = False

    @property
    def evidence(self) -> tuple[object, ...]:
        return (self.metric, self.tag, self.files, frozenset(self.authors))


@dataclass(eq=False)
class Emergency:
    """A time that the glass was broken."""

    version: Version
    by: str
    target: str
    #: Who shaped the version by then, and who did it: none of them reviews it.
    makers: frozenset[str]
    verdict: str | None = None
    is_overdue: bool = False
    id: int = 0


@dataclass(eq=False)
class Tenure:
    """A version's time in a target."""

    target: str
    version: Version
    how: str
    emergency: Emergency | None = None
    is_over: bool = False


@dataclass(eq=False)
class Model:
    """A registered model: its versions, aliases, and who held its targets."""

    name: str
    versions: list[Version] = field(default_factory=list)
    aliases: dict[str, Version] = field(default_factory=dict)
    history: list[Tenure] = field(default_factory=list)

    @property
    def living(self) -> list[Version]:
        return [version for version in self.versions if not version.is_deleted]

    def holders(self, target: str) -> list[Version]:
        kind, _, name = target.partition(":")
        if kind == "alias":
            return [self.aliases[name]] if name in self.aliases else []
        return [version for version in self.living if version.stage == name]

    def way_back(self, target: str) -> list[Tenure]:
        """Who served one after the other; a rollback undoes what came after."""
        line: list[Tenure] = []
        for tenure in self.history:
            if tenure.target != target:
                continue
            if tenure.how == "rollback":
                while any(known.version is tenure.version for known in line):
                    line.pop()
            line.append(tenure)
        return line


@dataclass(eq=False)
class Request:
    """A promotion request. `evidence` is what it showed when it was last looked at; approvals are about that."""

    version: Version
    target: str
    requester: str
    policy: Policy
    evidence: object
    approvals: set[str] = field(default_factory=set)
    state: str = "open"
    is_overdue: bool = False
    #: Who rejected it, until the rejection is lifted.
    rejected_by: str | None = None
    id: int = 0

    @property
    def rule(self) -> Policy | None:
        return self.policy.rule_for(self.target)


@dataclass(eq=False)
class Hold:
    """A version that may not go to a target, or to any."""

    version: Version
    target: str | None
    is_lifted: bool = False
    id: int = 0
    #: Who broke the glass for the version, if its rejection is what set the hold.
    broke_glass: str | None = None


@dataclass(eq=False)
class Freeze:
    """A time in which nothing of some models is promoted."""

    pattern: str
    target: str | None
    is_lifted: bool = False
    id: int = 0


class Life:
    """Everything that there is, and everything that may be done."""

    def __init__(self, people: Iterable[Person], policy: Policy) -> None:
        self.people = {person.name: person for person in people}
        self.policy = policy
        self.models: list[Model] = []
        self.requests: list[Request] = []
        self.holds: list[Hold] = []
        self.freezes: list[Freeze] = []
        self.emergencies: list[Emergency] = []

    # Who may do what

    def may(self, who: str, right: str) -> bool:
        person = self.people[who]
        return person.is_active and any(right in RIGHTS[role] for role in person.roles)

    def _enter(self, who: str) -> None:
        """At the door: whoever is deactivated or has no role at all gets nowhere."""
        person = self.people[who]
        if not (person.is_active and person.roles):
            raise Refusal(f"{who} may not come in")

    def _need(self, who: str, *rights: str) -> None:
        self._enter(who)
        if not any(self.may(who, right) for right in rights):
            raise Refusal(f"{who} may not: {' or '.join(rights)}")

    def _need_person(self, who: str, *rights: str) -> None:
        self._need(who, *rights)
        if self.people[who].is_service:
            raise Refusal(f"{who} is a service account")

    def excluded(self, request: Request) -> set[str]:
        """Nobody approves their own work."""
        return {*request.version.authors, request.version.registrar, request.requester}

    # Versions and their evidence

    def register(self, who: str, model: Model, run_id: str) -> str:
        self._need(who, "write")
        model.versions.append(Version(model, len(model.versions) + 1, run_id, who, {who}))
        return "version.created"

    def log_metric(self, who: str, version: Version) -> None:
        self._need(who, "write")
        version.metric += 1
        version.authors.add(who)

    def set_tag(self, who: str, version: Version, value: str) -> str:
        self._need(who, "write")
        version.tag = value
        return "version.updated"

    def upload(self, who: str, version: Version) -> None:
        self._need(who, "write")
        if self.is_sealed(version):
            raise Refusal("its files were approved", audited="artifacts.write_refused")
        version.files += 1
        version.authors.add(who)

    def is_sealed(self, version: Version) -> bool:
        """Approved, promoted, or serving by a decision: then nothing is written among its files."""
        bound = any(r.version is version and r.state in ("approved", "promoted") for r in self.requests)
        serves = any(t.version is version and not t.is_over and t.how != "direct" for t in version.model.history)
        return version.is_marked and (bound or serves)

    def report_check(self, who: str, version: Version, success: bool) -> str:
        self._need(who, "write")
        version.check = (who, success, version.evidence)
        return "check.reported"

    def delete_version(self, who: str, version: Version) -> str:
        self._need(who, "write")
        if any(version in version.model.holders(target) for target in self.policy.targets):
            raise Refusal("it holds a protected target")
        for target in TARGETS:
            if version in version.model.holders(target):
                self._leave(target, version)
        for request in self.live():
            if request.version is version:
                request.state = "withdrawn"
        version.is_deleted = True
        return "version.deleted"

    def rename(self, who: str, model: Model, name: str) -> str:
        self._need(who, "write")
        if any(model.holders(target) for target in self.policy.targets):
            raise Refusal("it holds a protected target")
        model.name = name
        return "model.renamed"

    # Asking

    def live(self, model: Model | None = None, target: str | None = None) -> list[Request]:
        return [
            request
            for request in self.requests
            if request.state in LIVE
            and (model is None or request.version.model is model)
            and (target is None or request.target == target)
        ]

    def ask(self, who: str, version: Version, target: str) -> str:
        self._need(who, "write")
        request, is_new = self._find_or_open(who, version, target)
        self._assess(request)
        if self._goes_by_itself(request):
            return self._carry_out(request)
        return "request.opened" if is_new else ""

    def _find_or_open(self, who: str, version: Version, target: str) -> tuple[Request, bool]:
        there = self.live(version.model, target)
        mine = next((r for r in there if r.version is version and not r.is_overdue), None)
        if mine is None and version.model.holders(target) == [version]:
            raise Refusal("it holds the target already")
        for request in there[: there.index(mine)] if mine else there:
            if request.is_overdue:
                request.state = "expired"
        if mine is not None:
            return mine, False
        if any(r.rejected_by and r.version is version and r.target == target for r in self.requests):
            raise Refusal("it was rejected", audited="promotion.refused")
        opened = Request(version, target, who, self.policy, version.evidence)
        self.requests.append(opened)
        return opened, True

    # Looking and reviewing

    def look(self, who: str, request: Request) -> None:
        self._enter(who)
        self._expire_all()
        if request.state in LIVE:
            self._assess(request)

    def _expire_all(self) -> None:
        for request in self.live():
            if request.is_overdue:
                request.state = "expired"

    def _assess(self, request: Request) -> None:
        """Judge a live request on what is so now: approvals of what was before are void."""
        if request.state not in LIVE:
            raise Refusal(f"it is {request.state}")
        if request.is_overdue:
            request.state = "expired"
            raise Refusal("its time is over")
        if request.evidence != request.version.evidence:
            request.evidence = request.version.evidence
            request.approvals.clear()
        request.state = "approved" if self._has_enough(request) else "open"
        if request.state == "approved" and request.rule:
            request.version.is_marked = True

    def _has_enough(self, request: Request) -> bool:
        rule = request.rule
        if rule is None:
            return not self._is_held(request.version, request.target)
        counted = [
            name
            for name in request.approvals - self.excluded(request)
            if self.may(name, "review") and (self.people[name].is_senior or not rule.only_seniors)
        ]
        return len(counted) >= rule.required

    def approve(self, who: str, request: Request, saw: object) -> str:
        """Approve what one saw: `saw` is the evidence, or None for what the request showed last."""
        self._enter(who)
        if request.state in LIVE and not request.is_overdue:
            self._check_seen(who, request, saw)
        self._assess(request)
        self._check_standing(who, request)
        if who in request.approvals:
            return ""  # It is said already.
        request.approvals.add(who)
        self._assess(request)
        return self._carry_out(request) if self._goes_by_itself(request) else "request.reviewed"

    def _check_seen(self, who: str, request: Request, saw: object) -> None:
        """Who is refused because the evidence has changed leaves no trace: that is no look at it."""
        if (request.evidence if saw is None else saw) != request.version.evidence and self._may_review(who, request):
            raise Refusal("the evidence has changed")

    def reject(self, who: str, request: Request) -> str:
        self._enter(who)
        self._assess(request)
        self._check_standing(who, request)
        request.state, request.rejected_by = "rejected", who
        return "request.rejected"

    def _may_review(self, who: str, request: Request) -> bool:
        return not self.people[who].is_service and who not in self.excluded(request) and self.may(who, "review")

    def _check_standing(self, who: str, request: Request) -> None:
        if not self._may_review(who, request):
            raise Refusal(f"{who} may not review this", audited="request.reviewed")

    def lift(self, who: str, request: Request) -> str:
        self._enter(who)
        if request.rejected_by is None or not (who == request.rejected_by or self.may(who, "govern")):
            raise Refusal(f"{who} may not lift this")
        request.rejected_by = None
        self._expire_all()
        return "request.rejection_lifted"

    def withdraw(self, who: str, request: Request) -> str:
        self._enter(who)
        may = who == request.requester or self.may(who, "govern")
        if request.state in LIVE and not request.is_overdue and not may:
            raise Refusal("it is somebody else's")
        self._assess(request)
        request.state = "withdrawn"
        return "request.withdrawn"

    def comment(self, who: str, request: Request) -> str:
        self._need(who, "write", "review", "promote", "roll back")
        self.look(who, request)
        return "request.commented"

    # Moving

    def promote(self, who: str, request: Request) -> str:
        self._enter(who)
        is_alive = request.state in LIVE and not request.is_overdue
        if is_alive and self._would_empty_production(request) and self.may(who, "promote"):
            raise Refusal("it would leave production empty")
        self._assess(request)
        self._check_may_go(who, request)
        return self._carry_out(request)

    def _check_may_go(self, who: str, request: Request) -> None:
        if not (self._is_clear(request) and self.may(who, "promote")):
            raise Refusal("not everything is met", audited="promotion.refused")

    def _would_empty_production(self, request: Request) -> bool:
        return request.target == STAGING and request.version.stage == "Production"

    def _goes_by_itself(self, request: Request) -> bool:
        return request.rule is not None and request.rule.on_approval and self._is_clear(request)

    def _is_clear(self, request: Request) -> bool:
        """Whether nothing is missing but somebody to carry it out."""
        rule, version = request.rule, request.version
        if rule is None:  # Nothing protected the target when it was asked for.
            return request.target not in self.policy.targets and not self._is_held(version, request.target)
        return (
            self._has_enough(request)
            and not self._is_held(version, request.target)
            and not any(self._binds(freeze, version.model, request.target) for freeze in self.freezes)
            and not any(e.version.model is version.model and e.is_overdue and not e.verdict for e in self.emergencies)
            and (not rule.wants_check or self._is_checked(request))
        )

    def _is_held(self, version: Version, target: str) -> bool:
        return any(h.version is version and h.target in (None, target) and not h.is_lifted for h in self.holds)

    @staticmethod
    def _binds(freeze: Freeze, model: Model, target: str) -> bool:
        return not freeze.is_lifted and freeze.pattern in ("*", model.name) and freeze.target in (None, target)

    def _is_checked(self, request: Request) -> bool:
        if request.version.check is None:
            return False
        reporter, success, evidence = request.version.check
        independent = self.people[reporter].is_service or reporter not in self.excluded(request)
        return success and independent and evidence == request.version.evidence

    def _carry_out(self, request: Request) -> str:
        request.state = "promoted"
        request.version.is_marked = True
        self._come(request.target, request.version, "promotion")
        return "promotion.done"

    def transition(self, who: str, version: Version, stage: str, archive: bool) -> str:
        """MLflow's own call to move a version to a stage."""
        target = f"stage:{stage}"
        if target in self.policy.targets and version.stage != stage:
            return self._ask_the_gate(who, version, target)
        self._need(who, "write", "promote")
        return self._move_directly(who, version, target, archive)

    def set_alias(self, who: str, version: Version, alias: str) -> str:
        """MLflow's own call to point an alias at a version."""
        target = f"alias:{alias}"
        if target in self.policy.targets and version.model.aliases.get(alias) is not version:
            return self._ask_the_gate(who, version, target)
        self._need(who, "write", "promote")
        return self._move_directly(who, version, target, archive=False)

    def _ask_the_gate(self, who: str, version: Version, target: str) -> str:
        """A client moves a protected target directly: it is promoted if it may be, else there is a request for it."""
        self._enter(who)
        if self.may(who, "roll back") and self.served_before(version.model, target) is version:
            return self._go_back(target, version)
        if self.may(who, "write"):
            request, _ = self._find_or_open(who, version, target)
        else:
            known = [r for r in self.live(version.model, target) if r.version is version]
            if not known:
                raise Refusal("nobody asked for it", audited="promotion.refused")
            request = known[0]
        self._assess(request)
        if not self._goes_by_itself(request):
            self._check_may_go(who, request)
        return self._carry_out(request)

    def _move_directly(self, who: str, version: Version, target: str, archive: bool) -> str:
        kind, _, name = target.partition(":")
        if version not in version.model.holders(target) and self._is_held(version, target):
            raise Refusal("it is on hold", audited="promotion.refused")
        leaves_production = kind == "stage" and version.stage == "Production" and name != "Production"
        if leaves_production and not self.may(who, "promote"):
            raise Refusal("it would leave production empty", audited="promotion.refused")
        is_there = version in version.model.holders(target)
        if is_there and target in self.policy.targets and self.may(who, "promote"):
            return ""
        if not leaves_production:
            self._need(who, "write")
        if name in (ARCHIVED, NO_STAGE):
            if version.stage not in (ARCHIVED, NO_STAGE):
                self._leave(f"stage:{version.stage}", version)
            version.stage = name
            return "target.moved"
        others = [] if archive or kind == "alias" else version.model.holders(target)
        self._come(target, version, "direct", beside=others)
        return "" if is_there and kind == "alias" else "target.moved"

    def delete_alias(self, who: str, model: Model, alias: str) -> str:
        self._need(who, "write", "promote")
        target, holder = f"alias:{alias}", model.aliases.get(alias)
        if holder is not None and target in self.policy.targets:
            if not self.may(who, "promote"):
                raise Refusal("it would empty a protected target", audited="promotion.refused")
        else:
            self._need(who, "write")
        if holder is None:
            return ""
        self._leave(target, holder)
        return "target.moved"

    def served_before(self, model: Model, target: str) -> Version | None:
        """The last version in a target, but for what serves now, whose approval still stands."""
        line = model.way_back(target)
        now = max(model.holders(target), key=lambda version: version.number, default=None)
        if line and line[-1].version is now:
            line.pop()
        for tenure in reversed(line):
            is_fit = tenure.emergency is None or tenure.emergency.verdict == "approve"
            version = tenure.version
            if is_fit and version is not now and not version.is_deleted and not self._is_held(version, target):
                return version
        return None

    def roll_back(self, who: str, model: Model, target: str) -> str:
        self._enter(who)
        if not self.may(who, "roll back"):
            raise Refusal(f"{who} may not roll back", audited="rollback.done")
        back_to = self.served_before(model, target)
        if back_to is None:
            raise Refusal("nothing served before")
        if target == STAGING and back_to.stage == "Production":
            raise Refusal("it would leave production empty")
        return self._go_back(target, back_to)

    def _go_back(self, target: str, version: Version) -> str:
        left = max(version.model.holders(target), key=lambda held: held.number, default=None)
        self._come(target, version, "rollback")
        if left is not None and not self._is_held(left, target):
            self.holds.append(Hold(left, target))
        return "rollback.done"

    def break_glass(self, who: str, version: Version, target: str) -> str:
        self._enter(who)
        if self.people[who].is_service or not self.may(who, "roll back"):
            raise Refusal(f"{who} may not break the glass", audited="break_glass.used")
        if target not in self.policy.targets or version.model.holders(target) == [version]:
            raise Refusal("there is no need to")
        makers = frozenset({*version.authors, version.registrar, who})
        emergency = Emergency(version, who, target, makers)
        self.emergencies.append(emergency)
        version.is_marked = True
        self._come(target, version, "break-glass", emergency)
        return "break_glass.used"

    def review_break_glass(self, who: str, emergency: Emergency, verdict: str) -> str:
        self._need_person(who, "review")
        rule = self.policy.rule_for(emergency.target)
        is_asked = rule is None or not rule.only_seniors or self.people[who].is_senior
        if emergency.verdict is not None or who in emergency.makers or not is_asked:
            raise Refusal(f"{who} may not review this")
        emergency.verdict = verdict
        if verdict == "reject":
            self.holds.append(Hold(emergency.version, None, broke_glass=emergency.by))
        return "break_glass.reviewed"

    def _come(
        self,
        target: str,
        version: Version,
        how: str,
        emergency: Emergency | None = None,
        beside: Iterable[Version] = (),
    ) -> None:
        """A version comes to hold a target, alone or beside others; requests for anything else are overtaken."""
        model = version.model
        kind, _, name = target.partition(":")
        for other in model.holders(target):
            if other is not version and other not in beside:
                self._leave(target, other)
        if version in model.holders(target):
            return
        if kind == "alias":
            model.aliases[name] = version
        else:
            if (held := f"stage:{version.stage}") in TARGETS:
                self._leave(held, version)
            version.stage = name
        model.history.append(Tenure(target, version, how, emergency))
        for request in self.live(model, target):
            request.state = "superseded"

    @staticmethod
    def _leave(target: str, version: Version) -> None:
        kind, _, name = target.partition(":")
        if kind == "alias":
            del version.model.aliases[name]
        else:
            version.stage = ARCHIVED
        for tenure in version.model.history:
            if tenure.target == target and tenure.version is version:
                tenure.is_over = True

    # Holds, freezes, people, policies

    def hold(self, who: str, version: Version, target: str | None) -> str:
        self._need_person(who, "roll back", "review", "govern")
        self.holds.append(Hold(version, target))
        return "hold.set"

    def lift_hold(self, who: str, hold: Hold) -> str:
        self._need_person(who, "roll back", "review", "govern")
        if hold.is_lifted or hold.version.is_deleted:
            raise Refusal("it was lifted already, or its version is gone")
        if who == hold.broke_glass:
            raise Refusal("somebody else lifts it")
        hold.is_lifted = True
        return "hold.lifted"

    def freeze(self, who: str, pattern: str, target: str | None) -> str:
        self._need(who, "roll back", "govern")
        self.freezes.append(Freeze(pattern, target))
        return "freeze.set"

    def lift_freeze(self, who: str, freeze: Freeze) -> str:
        self._need(who, "roll back", "govern")
        if freeze.is_lifted:
            raise Refusal("it is over already")
        freeze.is_lifted = True
        return "freeze.lifted"

    def change_person(self, name: str, is_active: bool, roles: frozenset[str]) -> str:
        self.people[name].is_active, self.people[name].roles = is_active, roles
        return "principal.changed"

    def apply_policy(self, policy: Policy) -> str:
        is_new, self.policy = policy is not self.policy, policy
        return "policy.applied" if is_new else ""
