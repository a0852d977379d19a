"""Comparison of the ratios of a run with those of an earlier one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.contestants import OURS

MARGINS = {"cpu_ratio": 0.15, "ratio": 0.30}
"""How much worse a ratio may be, as a fraction. Times vary more than CPU times."""

NAMES = {"cpu_ratio": "client CPU", "ratio": "time"}


def regressions(run: Mapping[str, Any], earlier: Mapping[str, Any]) -> Iterator[str]:
    """Yield a message for each ratio to the baseline that is worse by more than the margin.

    Args:
        run: JSON of the run.
        earlier: JSON of an earlier run. Workloads that only one of them has are not compared.
    """
    for name, workload in run["workloads"].items():
        before = earlier["workloads"].get(name, {"results": {}})["results"].get(OURS)
        now = workload["results"].get(OURS)
        if before is None or now is None:
            continue
        for key, margin in MARGINS.items():
            if now[key] is None or before[key] is None or now[key] <= before[key] * (1 + margin):
                continue
            yield (
                f"{name}: {NAMES[key]} is {now[key]:.2f} of {workload['baseline']}, "
                f"was {before[key]:.2f} (margin {margin:.0%})"
            )
