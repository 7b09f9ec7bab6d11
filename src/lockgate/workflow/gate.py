"""The gate, as the store asks it: what happens when an unmodified client tries to move a closed target."""

from collections.abc import Sequence

from mlflow.prompt.constants import IS_PROMPT_TAG_KEY

from lockgate.access.roles import Permission
from lockgate.audit.entry import AuditOutcome
from lockgate.database import holds, identities, policies, requests
from lockgate.decisions.verdict import why_not_carry_out, why_not_roll_back
from lockgate.errors import BadInput, Conflict, ConflictOnRecord, LockgateError, Refused, RefusedOnRecord
from lockgate.events.event import EventType
from lockgate.gates.policy import Policy
from lockgate.promotions.lookalikes import model_looks_like
from lockgate.promotions.request import PromotionRequest, State
from lockgate.promotions.target import Target
from lockgate.registry import pointers
from lockgate.registry.bounds import require
from lockgate.registry.facts import Files
from lockgate.registry.mutation import Mutation
from lockgate.registry.pointers import Change
from lockgate.registry.sources import check_source
from lockgate.registry.touches import Kind
from lockgate.registry.transaction import reading, told_by_mlflow
from lockgate.workflow.afterwards import look_again
from lockgate.workflow.audited import observe
from lockgate.workflow.case import assess
from lockgate.workflow.clearing import STAGING, decide_clearing
from lockgate.workflow.files import look_at_files
from lockgate.workflow.matter import held
from lockgate.workflow.promote import carry_out, carry_out_if_on_approval
from lockgate.workflow.rollback import carry_out_rollback, check_may_roll_back, served_before
from lockgate.workflow.stores import Stores, stores
from lockgate.workflow.submit import check_alias, find_or_open, record_opened


def _check_not_held(mutation: Mutation, change: Change) -> None:
    """Refuse what somebody has put on hold, also where no rule protects the target, or only one in audit mode."""
    for number in sorted(change.gained):
        for hold in holds.on_version(mutation.session, mutation.version(number).id):
            if hold.binds(change.target):
                reason = held(hold)
                mutation.record(
                    EventType.PROMOTION_REFUSED,
                    outcome=AuditOutcome.REFUSED,
                    version=number,
                    target=str(change.target),
                    reason=reason,
                )
                raise RefusedOnRecord(reason, unmet=[reason])


class PolicyGate:
    """Answers the store's questions by the policy that is in force. See `lockgate.registry.gate.Gate`."""

    def is_closed(self, name: str, target: Target) -> bool:
        """Say whether a target may move only through the gate."""
        with reading(stores().registry.engine) as session:
            return policies.current(session).policy.protects(target)

    def ask(self, name: str, version: int, target: Target) -> None:
        """Move a closed target, or refuse and leave a request that asks for it."""
        house = stores()
        files = look_at_files(house, name, version)
        with house.registry.mutation(name) as begun:
            if begun.pointers.of(target) == {version} or self._went_back(house, begun, version, target, files):
                return
            request, is_new = self._request(house, begun, version, target, files)
            case = assess(begun, house, request, files)
            if is_new:
                record_opened(begun, case)
            case = carry_out_if_on_approval(house, begun, case)
            if case.request.state is not State.PROMOTED:
                case = carry_out(house, begun, case, is_new)
        look_again(house, case)

    def _request(
        self, house: Stores, begun: Mutation, version: int, target: Target, files: Files
    ) -> tuple[PromotionRequest, bool]:
        """Return the request that the call is about, and whether it had to be opened."""
        if not begun.caller.principal.may(Permission.ASK, begun.name):
            known = identities.version(begun.session, begun.model.id, version)
            for request in requests.live(begun.session, begun.model.id, target):
                if known is not None and request.version_id == known.id:
                    return request, False
            raise self._refusal_to_ask(begun, version, target, known)
        return find_or_open(house, begun, version, target, "", files)

    def _refusal_to_ask(
        self, begun: Mutation, version: int, target: Target, known: identities.Version | None
    ) -> LockgateError:
        overtaken = requests.superseded_last(begun.session, known.id, target) if known is not None else None
        lost = f"{overtaken.overtaken} " if overtaken is not None else ""
        reason = (
            f"{lost}{target} of '{begun.name}' moves only by an approved promotion request, and there is none for "
            f"version {version}. {begun.caller.principal.name} may not ask for promotions either; a contributor may "
            f"(`lockgate request {begun.name} {version} {target}`)."
        )
        begun.record(
            EventType.PROMOTION_REFUSED,
            outcome=AuditOutcome.REFUSED,
            version=version,
            target=str(target),
            reason=reason,
        )
        return (ConflictOnRecord if overtaken is not None else RefusedOnRecord)(reason, unmet=[reason])

    def _went_back(self, house: Stores, begun: Mutation, version: int, target: Target, files: Files) -> bool:
        """Roll back if that is what the call amounts to: an operator, and the version that served before."""
        rules = policies.current(begun.session).policy.rules_for(begun.name, target)
        if why_not_roll_back(begun.caller.principal, rules, begun.name) is not None:
            return False
        back_to = served_before(begun.session, begun.model.id, target, begun.pointers.newest(target))
        if back_to is None or back_to.version != version:
            return False
        check_may_roll_back(begun, target)
        carry_out_rollback(house, begun, target, back_to, "called through MLflow's own API", files)
        return True

    def observe(self, name: str, version: int, target: Target) -> None:
        """Put on record what rules in audit mode would refuse about a move of an open target."""
        observe(stores(), name, version, target)

    def check_direct(self, mutation: Mutation, changes: Sequence[Change]) -> dict[Target, int]:
        """Refuse changes outside the gate that touch a closed target; record those that may clear one."""
        policy = policies.current(mutation.session).policy
        for change in changes:
            _check_not_held(mutation, change)
        closed = [change for change in changes if policy.protects(change.target)]
        decided = {}
        for change in closed:
            if change.gained:
                raise Conflict(f"{change.target} has just come under a rule of the policy. Call again.")
            self._check_may_clear(mutation, policy, change)
            decided[change.target] = decide_clearing(mutation, change)
        return decided

    def _check_may_clear(self, mutation: Mutation, policy: Policy, change: Change) -> None:
        rules = policy.rules_for(mutation.name, change.target)
        reason = why_not_carry_out(mutation.caller.principal, rules, mutation.name)
        if reason is None:
            return
        gone = ", ".join(str(number) for number in sorted(change.lost))
        message = (
            f"Version {gone} holds {change.target} of '{mutation.name}', and this call would take it out. {reason} "
            f"To put another version in its place, ask for its promotion (`lockgate request`); to go back to what "
            f"served before, `lockgate rollback {mutation.name} {change.target} --reason ...`."
        )
        mutation.record(
            EventType.PROMOTION_REFUSED,
            outcome=AuditOutcome.REFUSED,
            version=max(change.lost),
            target=str(change.target),
            reason=message,
        )
        raise RefusedOnRecord(message, unmet=[reason])

    def check_side_effects(self, mutation: Mutation, target: Target, changes: Sequence[Change]) -> None:
        """Refuse to carry out a decision about one target that would leave production empty."""
        production = Target("stage", "Production")
        emptied = [change for change in changes if change.target == production != target and not change.gained]
        if emptied and policies.current(mutation.session).policy.protects(production):
            raise Conflict(
                f"Version {max(emptied[0].lost)} serves {production}; moving it to {target} would leave production "
                "empty. Promote another version to production first."
            )

    def check_deletion(self, mutation: Mutation, what: str, changes: Sequence[Change]) -> None:
        """Refuse a deletion that would empty a closed target."""
        policy = policies.current(mutation.session).policy
        held = [str(change.target) for change in changes if change.lost and policy.protects(change.target)]
        if held:
            raise Refused(
                f"{what} can't be deleted while it holds {' and '.join(held)}. Promote another version in its place "
                "first, or let somebody with the role releaser clear the target."
            )

    def check_rename(self, mutation: Mutation, new_name: str, is_prompt: bool) -> None:
        """Refuse to rename a model that serves: production would be empty under the old name, and not approved
        under the new one."""
        policy = policies.current(mutation.session).policy
        self.check_name(mutation, new_name, is_prompt or new_name == mutation.name)
        held = [str(t) for t, versions in mutation.pointers.holders.items() if versions and policy.protects(t)]
        if held and new_name != mutation.name:
            raise Refused(
                f"'{mutation.name}' can't be renamed while it holds {' and '.join(sorted(held))}: what loads it by "
                "name would find nothing. Let somebody with the role releaser clear the target first."
            )

    def check_name(self, mutation: Mutation, name: str, is_prompt: bool) -> None:
        """Refuse a name that the policy's naming does not allow, or that could be taken for a governed model's.

        Naming is about models that are new: not about prompts, and not about a name that a model has.
        """
        policy = policies.current(mutation.session).policy
        if not is_prompt:
            policy.check_name(name)
        for workspace, known in identities.all_names(mutation.session):
            is_other = workspace == mutation.workspace and known != mutation.name
            if is_other and model_looks_like(name, known) and policy.governs(known):
                raise BadInput(
                    f"The name {name[:300]!r} could be taken for that of the model '{known}'. Choose a name that "
                    "nobody can mistake."
                )

    def check_provenance(self, source: str, run_id: str | None, model_id: str | None) -> None:
        """Refuse a run or logged model, whose metrics a version would show, and files that the caller may not see."""
        tracking = stores().tracking
        for kind, thing in ((Kind.RUN, run_id), (Kind.LOGGED_MODEL, model_id)):
            if thing:
                require(tracking, Permission.READ, kind, [thing])
        with told_by_mlflow():
            check_source(tracking, source, run_id, model_id)

    def check_prompt_marker(self, mutation: Mutation, is_prompt: bool) -> None:
        """Refuse to turn a governed model into a prompt or back: it would vanish from where models are listed. A prompt
        that becomes a model needs a model's name."""
        policy = policies.current(mutation.session).policy
        if is_prompt:
            policy.check_name(mutation.name)
        if policy.governs(mutation.name):
            raise Refused(
                f"'{mutation.name}' is governed by the policy, so MLflow's tag '{IS_PROMPT_TAG_KEY}', which makes a "
                "model a prompt, can't be set or deleted on it. Register a prompt under a name of its own."
            )

    def approved_holders(self, name: str) -> frozenset[int] | None:
        """Return the versions that protected targets serve; None if no rule is about the model."""
        registry = stores().registry
        with reading(registry.engine) as session:
            policy = policies.current(session).policy
            if not policy.governs(name):
                return None
            held = pointers.read(session, registry.workspace, name)
        serving = (held.of(target) for target in held.holders if policy.protects(target) and target != STAGING)
        return frozenset[int]().union(*serving)

    def check_alias(self, mutation: Mutation, alias: str) -> None:
        """Refuse an alias that could be taken for a closed one."""
        check_alias(policies.current(mutation.session), Target("alias", alias))

    def served_before(self, name: str, target: Target) -> int | None:
        """Return the version that served a closed target before; None if the target is open."""
        registry = stores().registry
        with reading(registry.engine) as session:
            if not policies.current(session).policy.protects(target):
                return None
            known = identities.model(session, registry.workspace, name)
            if known is None:
                return None
            held = pointers.read(session, registry.workspace, name)
            back_to = served_before(session, known.id, target, held.newest(target))
            return back_to.version if back_to else None
