# SPDX-License-Identifier: Apache-2.0
"""What a benchmark finds: rows against a limit, and curves; as data, with no idea of how to print.

A row holds every sample, so that a reader of the JSON can ask other questions than ours.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of ours against its limit or peer, measured in turns in the same run."""

    name: str  # `start/create`
    unit: str  # "s", "MB", "/s"
    ours: tuple[float, ...]
    limit: tuple[float, ...] = ()  # empty: the budget is in `unit`, not a ratio
    limit_name: str = ""  # what the limit is, in a few words
    budget: float | None = None  # None: reported, nothing is promised
    more_is_better: bool = False  # a rate: the budget is a floor
    note: str = ""

    @property
    def value(self) -> float:
        """The median of ours."""
        return statistics.median(self.ours)

    @property
    def ratio(self) -> float | None:
        """Median to median; the smallest to the smallest is `floor_ratio`."""
        return self.value / statistics.median(self.limit) if self.limit else None

    @property
    def floor_ratio(self) -> float | None:
        """Best to best: what is left when the noise of the machine is not in it."""
        if not self.limit:
            return None
        best = max if self.more_is_better else min
        return best(self.ours) / best(self.limit)

    @property
    def is_met(self) -> bool | None:
        """Whether the median keeps the budget; None if there is none."""
        if self.budget is None:
            return None
        found = self.value if self.ratio is None else self.ratio
        return found >= self.budget if self.more_is_better else found <= self.budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How something grows with something else."""

    name: str  # `start/memory`: also the name of the picture
    x_name: str
    y_name: str  # with its unit
    x: tuple[float, ...]
    series: Mapping[str, tuple[tuple[float, ...], ...]]  # name -> the samples at each x
    expected: str  # "flat" or "linear", and the reason where it is not
    log_x: bool = False


Finding = Row | Curve


def in_turns(
    runs: int, measures: Mapping[str, Callable[[], float]]
) -> dict[str, tuple[float, ...]]:
    """Ask each in turn, so that a busy minute of the machine hits all of them alike."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(runs):
        for name, measure in measures.items():
            found[name].append(measure())
    return {name: tuple(values) for name, values in found.items()}
