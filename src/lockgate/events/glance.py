"""What events say of a request at a glance: how its gates came out, what is missing, and which commit it comes from.

It is part of the audit log, so all of it is bounded. The request itself has the rest.
"""

import re
from collections.abc import Sequence
from typing import Any

from lockgate.events.event import EventType
from lockgate.evidence.record import Evidence
from lockgate.gates.judge import GateResult

#: The events that say so.
AT_A_GLANCE = (
    EventType.REQUEST_OPENED,
    EventType.EVIDENCE_CHANGED,
    EventType.GATE_FAILED,
    EventType.GATES_PASSED,
    EventType.REQUEST_REVIEWED,
    EventType.REQUEST_REJECTED,
    EventType.REQUEST_WITHDRAWN,
    EventType.REQUEST_EXPIRED,
    EventType.REQUEST_SUPERSEDED,
    EventType.PROMOTION_REFUSED,
    EventType.PROMOTED,
)

_MOST_GATES = 50
_MOST_SENTENCES = 20
_MOST_OF_A_SENTENCE = 300
#: MLflow's own tag of a run, and the one that pipelines set where MLflow sees no repository.
_COMMIT_TAGS = ("mlflow.source.git.commit", "git_commit")
#: Tags can be written by anybody.
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def glance(gates: Sequence[GateResult], evidence: Evidence, unmet: Sequence[str] = ()) -> dict[str, Any]:
    """Return what an event says of a request, as far as there is such.

    Args:
        gates: What its gates came to.
        evidence: What it is judged on.
        unmet: What is still missing, a sentence each.

    Returns:
        `gates`, each with `name` and `outcome`, and `warns` where it keeps no promotion from going; `unmet`; `commit`.
    """
    found = {
        "gates": [_gate(gate) for gate in gates[:_MOST_GATES]],
        "unmet": [_cut(sentence) for sentence in unmet[:_MOST_SENTENCES]],
        "commit": _commit(evidence),
    }
    return {name: value for name, value in found.items() if value}


def _gate(gate: GateResult) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": _cut(gate.name), "outcome": gate.outcome.value}
    return shown | ({"warns": True} if gate.mode == "warn" else {})


def _commit(evidence: Evidence) -> str:
    tagged = (evidence.tags.get(tag, "").strip().lower() for tag in _COMMIT_TAGS)
    return next((commit for commit in tagged if _COMMIT.fullmatch(commit)), "")


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_OF_A_SENTENCE else text[: _MOST_OF_A_SENTENCE - 1] + "\N{HORIZONTAL ELLIPSIS}"
