"""Comparison of the ratios of a run with those of an earlier one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.contestants import OURS

CPU_MARGIN, TIME_MARGIN = 0.15, 0.30
"""How much worse a ratio may be, as a fraction."""


def regressions(run: Mapping[str, Any], earlier: Mapping[str, Any]) -> Iterator[str]:
    """Yield a message for each ratio to the baseline that is worse by more than the margin.

    Times vary on a busy machine, so a time is worse only if its lower quartile is.

    Args:
        run: JSON of the run.
        earlier: JSON of an earlier run. Workloads that only one of them has are not compared.
    """
    for name, workload in run["workloads"].items():
        before = earlier["workloads"].get(name, {"results": {}})["results"].get(OURS)
        now = workload["results"].get(OURS)
        if before is None or now is None:
            continue
        compared = (
            ("client CPU", now["cpu_ratio"], before["cpu_ratio"], CPU_MARGIN),
            ("time", now["low"], before["ratio"], TIME_MARGIN),
        )
        for title, ratio, ratio_before, margin in compared:
            if ratio and ratio_before and ratio > ratio_before * (1 + margin):
                yield (
                    f"{name}: {title} is {ratio:.2f} of {workload['baseline']}, "
                    f"was {ratio_before:.2f} (margin {margin:.0%})"
                )
