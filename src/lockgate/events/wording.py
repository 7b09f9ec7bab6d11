"""What people are told of an event, in words: what is worth a line, and what somebody wrote, made fit to be shown."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lockgate.events.dialect import Told
from lockgate.gates.judge import Outcome

#: What of an event's difference is worth a line, and what it is called.
_FACTS = {
    "verdict": "Review",
    "check": "Check",
    "status": "Result",
    "state": "State",
    "asked": "Asked",
    "ticket": "Ticket",
    "review_by": "Review by",
    "name": "Name",
    "commit": "Commit",
}
#: Sentences that are shown one by one, such as what is missing; the page has all of them.
_LISTS = ("unmet", "changes", "weakens")
_MOST_LINES = 10
_MOST_OF_A_NAME = 100
_MOST_OF_A_REASON = 1_500
#: Those that need somebody first.
_SIGNS = {
    Outcome.FAILED: "\N{BALLOT X}",
    Outcome.ERROR: "\N{BALLOT X}",
    Outcome.PENDING: "\N{HORIZONTAL ELLIPSIS}",
    Outcome.PASSED: "\N{CHECK MARK}",
}
_WORDS = {
    Outcome.FAILED: "failed",
    Outcome.ERROR: "could not be judged",
    Outcome.PENDING: "pending",
    Outcome.PASSED: "passed",
}


@dataclass(frozen=True)
class Gate:
    """How a gate came out, at a glance.

    Attributes:
        sign: For the eye: a check mark, an x, or dots.
        outcome: The same in words.
        name: The gate's name, as somebody wrote it.
    """

    sign: str
    outcome: str
    name: str


def gates(told: Told) -> list[Gate]:
    """Return how the gates came out that an event tells of: those that failed first, and how many more there are."""
    known = list(Outcome)
    found = [gate for gate in told.after.get("gates", ()) if gate.get("outcome") in known]
    found.sort(key=lambda gate: list(_SIGNS).index(Outcome(gate["outcome"])))
    shown = [_gate(gate) for gate in found[:_MOST_LINES]]
    more = len(found) - len(shown)
    return [*shown, Gate("\N{HORIZONTAL ELLIPSIS}", "and more", str(more))] if more > 0 else shown


def _gate(gate: dict[str, Any]) -> Gate:
    outcome = Outcome(gate["outcome"])
    word = _WORDS[outcome] + (" (a warning)" if gate.get("warns") and outcome is not Outcome.PASSED else "")
    return Gate(_SIGNS[outcome], word, str(gate.get("name", "")))


def facts(told: Told) -> list[tuple[str, str]]:
    """Return what is worth a line, and what it is called."""
    found = [("By", str(told.data.get("actor", "")))]
    if told.before.get("version") != told.after.get("version"):
        held = [str(side["version"]) for side in (told.before, told.after) if side.get("version") is not None]
        found.append(("Version", " \N{RIGHTWARDS ARROW} ".join(held)))
    if "request_id" in told.data:
        found.append(("Request", str(told.data["request_id"])))
    found += [(label, _text(told.after[key])) for key, label in _FACTS.items() if told.after.get(key)]
    return [(label, value) for label, value in found if value]


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def sentences(told: Told) -> list[str]:
    """Return the sentences that are shown one by one, and how many more there are."""
    found = [str(one) for key in _LISTS for one in told.after.get(key, ())]
    more = len(found) - _MOST_LINES
    return [*found[:_MOST_LINES], f"And {more} more."] if more > 0 else found


def paragraphs(told: Told, shown: Callable[[str, int], str]) -> list[Sequence[str]]:
    """Return what happened in lines of text, those that belong together in one paragraph.

    Args:
        told: The event.
        shown: Makes what somebody wrote fit to be shown, up to a length.
    """
    found = [
        [f"{label}: {shown(value, 500)}" for label, value in facts(told)],
        [f"{gate.sign} {gate.outcome}: {shown(gate.name, _MOST_OF_A_NAME)}" for gate in gates(told)],
        [f"\N{BULLET} {shown(sentence, 300)}" for sentence in sentences(told)],
    ]
    reason = str(told.data.get("reason", ""))
    if reason and not found[-1]:
        found.append([shown(reason, _MOST_OF_A_REASON)])
    return [lines for lines in found if lines]


def line(text: str, most: int = 1_000) -> str:
    """Return what somebody wrote on one line, without signs that can't be seen or turn what is shown around."""
    words = "".join(" " if sign.isspace() else sign for sign in text if _is_shown(sign)).split()
    return cut(list(" ".join(words)), most)


def markdown(text: str, most: int = 1_000) -> str:
    """Return what somebody wrote for Markdown: no link, no emphasis, no list, at most so long when escaped."""
    return cut([f"\\{sign}" if sign in _MARKDOWN else sign for sign in line(text, most)], most)


_MARKDOWN = frozenset("\\`*_{}[]()<>#+-.!|~&")


def _is_shown(sign: str) -> bool:
    return sign.isspace() or unicodedata.category(sign) not in ("Cc", "Cf", "Cs")


def cut(signs: list[str], most: int) -> str:
    """Join signs, each of them whole, up to a length."""
    if sum(map(len, signs)) <= most:
        return "".join(signs)
    kept, length = [], 1
    for sign in signs:
        length += len(sign)
        if length > most:
            break
        kept.append(sign)
    return "".join(kept) + "\N{HORIZONTAL ELLIPSIS}"
