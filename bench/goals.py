"""What is aimed at, and whether it is reached."""

from dataclasses import dataclass

from bench.wrk import Borne


@dataclass(frozen=True)
class Goal:
    """What Lockgate is to do, beside a stock server in the same run."""

    #: Calls a second: so many times the stock server's.
    times: float | None = None
    #: The median latency: at most this share of the stock server's.
    share: float | None = None
    #: The median latency: under so many milliseconds.
    under: float | None = None

    def holds(self, stock: Borne, lockgate: Borne) -> bool:
        """Return whether it is reached; never if calls failed."""
        return (
            lockgate.failed == 0
            and (self.times is None or lockgate.rate >= self.times * stock.rate)
            and (self.share is None or lockgate.p50 <= self.share * stock.p50)
            and (self.under is None or lockgate.p50 < self.under)
        )

    def __str__(self) -> str:
        parts = (
            None if self.times is None else f"{self.times:g} ×",
            None if self.share is None else f"p50 {self.share:.0%}",
            None if self.under is None else f"p50 < {self.under:g} ms",
        )
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Growth:
    """How many times the time a call may take at most, where there is more."""

    name: str
    at_most: float

    def holds(self, little: Borne, much: Borne) -> bool:
        """Return whether it is reached."""
        return self.measured(little, much) <= self.at_most

    @staticmethod
    def measured(little: Borne, much: Borne) -> float:
        """Return how many times the time a call took."""
        return little.rate / much.rate
