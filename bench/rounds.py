"""One work, measured on two servers that take turns."""

from dataclasses import dataclass

from bench.answers import compare
from bench.clients import Call
from bench.pair import Pair, Side
from bench.processes import processor_seconds
from bench.table import Cost, Row
from bench.works import Work
from bench.wrk import load

#: So many calls are made up for a round; they begin anew if that is not enough.
_LOT = 5_000
_COMPARED = 5
# A number that no round comes to.
_APART = 10_000_000
_FEW = 20
_LONGEST = 60


@dataclass(frozen=True)
class Rounds:
    """How often and how long each work is measured, and whose database it is."""

    number: int
    seconds: int
    #: The process of the database, if it is one of its own.
    database: int | None

    def row(self, pair: Pair, work: Work) -> Row:
        """Compare the answers, and measure both in turns; return the best round of each."""
        differs = compare(pair, [work.call(_APART + which) for which in range(_COMPARED)], work.changes)
        stock, lockgate = [], []
        for number in range(self.number):
            calls = [work.call(number * _LOT + which) for which in range(_LOT)]
            stock.append(self._cost(pair.stock, work, calls))
            lockgate.append(self._cost(pair.lockgate, work, calls))
        return Row(work.name, _best(stock), _best(lockgate), work.goal, differs)

    def _cost(self, side: Side, work: Work, calls: list[Call]) -> Cost:
        seconds = self.seconds
        while True:
            before = self._spent(side)
            borne = load(side.uri, side.token, calls, seconds, work.connections)
            # What takes so long that there are few says little.
            if borne.calls >= _FEW or seconds >= _LONGEST:
                return Cost(borne, (self._spent(side) - before) / max(borne.calls, 1) * 1000)
            seconds = min(seconds * 4, _LONGEST)

    def _spent(self, side: Side) -> float:
        database = 0.0 if self.database is None else processor_seconds(self.database)
        return processor_seconds(side.process) + database


def _best(rounds: list[Cost]) -> Cost:
    return max(rounds, key=lambda cost: cost.borne.rate)
