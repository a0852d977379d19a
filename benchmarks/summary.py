"""Medians and quartiles of the rounds, as times and as ratios to the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles


@dataclass(slots=True)
class Samples:
    """Seconds per operation of one contestant, one number for each round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """CPU time of the contestant's process, without the server's. Empty if it is unknown."""


@dataclass(frozen=True, slots=True)
class Result:
    """Summary of one contestant in one workload."""

    contestant: str
    wall: float
    """Median of the seconds per operation."""
    cpu: float | None
    """Median of the client's CPU seconds per operation."""
    ratio: float | None
    """Median of the ratios to the baseline's wall time in the same round, and its quartiles."""
    low: float | None
    high: float | None
    cpu_ratio: float | None


def summarise(samples: Mapping[str, Samples], baseline: str) -> list[Result]:
    """Return the results in the order of the contestants."""
    base = samples.get(baseline)
    return [_result(name, own, base) for name, own in samples.items()]


def _result(name: str, own: Samples, base: Samples | None) -> Result:
    ratios = _ratios(own.wall, base.wall) if base else []
    cpu_ratios = _ratios(own.cpu, base.cpu) if base else []
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else (None, None, None)
    return Result(
        contestant=name,
        wall=median(own.wall),
        cpu=_median(own.cpu),
        ratio=_median(ratios),
        low=low,
        high=high,
        cpu_ratio=_median(cpu_ratios),
    )


def _ratios(own: Sequence[float], base: Sequence[float]) -> list[float]:
    return [mine / theirs for mine, theirs in zip(own, base, strict=False) if theirs]


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
