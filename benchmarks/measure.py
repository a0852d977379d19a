"""Rounds in which the contestants take turns, so that a slow minute of the machine hits all."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from benchmarks import memory
from benchmarks.contestant import Contestant
from benchmarks.scenarios import Scenario


@dataclass(slots=True)
class Samples:
    """Of one contestant in one scenario, one number a round."""

    wall: list[float] = field(default_factory=list)
    """Seconds an operation."""
    cpu: list[float] = field(default_factory=list)
    """Seconds of this process an operation; the server's are not in it."""
    extra: list[float] = field(default_factory=list)
    """MiB at most above what was there before."""


@dataclass(frozen=True, slots=True)
class Result:
    """What is reported of one contestant in one scenario; ratios are medians over the rounds."""

    contestant: str
    wall_us: float
    cpu_us: float
    ratio: float
    """Wall time, that of the baseline in the same round being 1."""
    low: float
    """The lower quartile of the ratio; ``high`` is the upper one."""
    high: float
    cpu_ratio: float
    throughput_ratio: float
    extra_mib: float | None


async def run(
    scenario: Scenario, contestants: Sequence[Contestant], rounds: int, operations: int
) -> list[Result]:
    """Measure those that can do it; the first of the contestants is the baseline."""
    able = [it for it in contestants if _takes_part(it, scenario)]
    samples = {it.name: Samples() for it in able}
    for number in range(rounds):
        turn = number % len(able)
        if scenario.idle_seconds:
            await asyncio.sleep(scenario.idle_seconds)
            _spin()
        for contestant in able[turn:] + able[:turn]:  # nobody is always the one after somebody
            await _measure(scenario, contestant, operations, samples[contestant.name])
    baseline = samples[able[0].name]
    is_single = operations == 1
    return [_result(name, own, baseline, is_single=is_single) for name, own in samples.items()]


def _takes_part(contestant: Contestant, scenario: Scenario) -> bool:
    return contestant.can(scenario.operation) and (contestant.concurrent or not scenario.concurrent)


async def _measure(
    scenario: Scenario, contestant: Contestant, operations: int, samples: Samples
) -> None:
    measures_memory = scenario.measures_memory and memory.is_measurable()
    gc.collect()
    before = memory.mark() if measures_memory else 0
    wall, cpu = time.perf_counter(), time.process_time()
    await scenario.slice(contestant, operations)
    samples.cpu.append((time.process_time() - cpu) / operations)
    samples.wall.append((time.perf_counter() - wall) / operations)
    if measures_memory:
        samples.extra.append(memory.extra_since(before))


def _spin() -> None:
    """Wake the processor, which sleeps after an idle time; else the first contestant pays."""
    until = time.perf_counter() + 0.05
    while time.perf_counter() < until:
        pass


def _result(name: str, own: Samples, baseline: Samples, *, is_single: bool) -> Result:
    ratios = [mine / theirs for mine, theirs in zip(own.wall, baseline.wall, strict=True)]
    cpu_ratios = [
        mine / theirs for mine, theirs in zip(own.cpu, baseline.cpu, strict=True) if theirs
    ]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    # a single operation varies more than the machine: there the rounds are not paired
    ratio = median(own.wall) / median(baseline.wall) if is_single else median(ratios)
    return Result(
        contestant=name,
        wall_us=median(own.wall) * 1e6,
        cpu_us=median(own.cpu) * 1e6,
        ratio=ratio,
        low=low,
        high=high,
        cpu_ratio=median(cpu_ratios) if cpu_ratios else float("nan"),
        throughput_ratio=1 / ratio,
        extra_mib=median(own.extra) if own.extra else None,
    )
