"""How long a comparison will still take: by what runs of the same kind have taken."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cuetune.comparison.contenders import contender

if TYPE_CHECKING:
    from cuetune.comparison.plan import Plan, Run


class Pace:
    """Seconds of runs by method and size, learned as they end."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int, bool], list[float]] = defaultdict(list)

    def saw(self, result: dict[str, Any]) -> None:
        self._seen[result["method"], result["size"], result["factor"] is not None].append(result["wall"])

    def left(self, runs: Sequence["Run"], plan: "Plan") -> str:
        """Time for these runs, with the trials that go before them."""
        seconds = 0.0
        searched = set()
        for run in runs:
            seconds += self._expected(run.method, run.size)
            cell = run.method, run.size
            if plan.search and contender(run.method).tuned and run.seed == 0 and cell not in searched:
                searched.add(cell)
                seconds += 3 * self._expected(*cell, trial=True)
        return spoken(seconds)

    def _expected(self, method: str, size: int, trial: bool = False) -> float:
        """The mean of such runs; else of this method's at other sizes; else of methods of its sort."""
        tuned = contender(method).tuned
        for fits in (
            lambda key: key == (method, size, trial),
            lambda key: key[0] == method and key[2] == trial,
            lambda key: contender(key[0]).tuned == tuned and key[2] == trial,
        ):
            seen = [seconds for key, all_seconds in self._seen.items() if fits(key) for seconds in all_seconds]
            if seen:
                return statistics.mean(seen)
        return 0.0


def spoken(seconds: float) -> str:
    """A time as people say it: "40 s", "12 min", "1 h 20 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
