"""The benchmarks: a run in tiny sizes, and the comparison and publication of its results."""

import copy
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.baseline import regressions
from benchmarks.chart import draw
from benchmarks.publish import section
from benchmarks.rounds import difference
from benchmarks.summary import Samples, summarise

PROJECT = Path(__file__).parent.parent
WORKLOADS = ("get", "insert", "fold", "stream", "bulk", "bulk_new")
RUN = {
    "python": "3.11",
    "processors": 2,
    "server": "PostgreSQL 15.20",
    "connection": "TCP",
    "fsync": True,
    "event_loop": "asyncio",
    "packages": {"asyncpg": "0.32.0"},
    "titles": {"asyncpg": "asyncpg", "ours": "learner_app", "core": "SQLAlchemy <Core>"},
    "workloads": {
        "get/20": {
            "title": "content item by key",
            "tasks": 20,
            "baseline": "asyncpg",
            "results": {
                "asyncpg": {"ratio": 1.0, "cpu_ratio": 1.0, "wall": 4e-4, "cpu": 3e-4, "low": 1.0},
                "ours": {"ratio": 0.5, "cpu_ratio": 0.4, "wall": 2e-4, "cpu": 1e-4, "low": None},
                "core": {"ratio": 99.0, "cpu_ratio": None, "wall": 4e-2, "cpu": None, "low": None},
            },
        }
    },
    "memory": {"events, bytes per row": {"asyncpg": 1974.0, "ours": 2045.0}},
    "startup": {"learner --help": 0.25},
    "health": {"/health/db, 1 connection": 612.0},
}


@pytest.mark.slow
def test_benchmarks_measure_equal_operations_and_write_their_results(tmp_path):
    file = tmp_path / "results.json"
    options = ["--quick", "--scale=0.01", "--rounds=2", "--tasks=20", "--no-fsync"]
    outputs = [f"--json={file}", f"--compare={PROJECT / 'benchmarks' / 'baseline.json'}"]
    command = [sys.executable, "-m", "benchmarks", *WORKLOADS, *options, *outputs]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "ratios are worse than in" in run.stdout
    workloads = json.loads(file.read_text())["workloads"]
    assert [name.partition("/")[0] for name in workloads] == [*WORKLOADS]
    for name, workload in workloads.items():
        ours = workload["results"]["ours"]
        assert ours["ratio"] > 0, name
        assert 0 < ours["cpu"] <= ours["wall"] * 2, name
        assert workload["results"][workload["baseline"]]["ratio"] == 1, name


def test_ratios_are_compared_within_a_round():
    samples = {
        "asyncpg": Samples(wall=[1.0, 10.0, 2.0], cpu=[1.0, 1.0, 1.0]),
        "ours": Samples(wall=[0.5, 5.0, 1.0], cpu=[0.2, 0.4, 0.3]),
        "pgbench": Samples(wall=[0.1, 1.0, 0.2]),
    }
    _, ours, pgbench = summarise(samples, "asyncpg")
    assert (ours.ratio, ours.low, ours.high) == (0.5, 0.5, 0.5)
    assert (ours.wall, ours.cpu, ours.cpu_ratio) == (1.0, 0.3, 0.3)
    assert pgbench.ratio == pytest.approx(0.1)
    assert (pgbench.cpu, pgbench.cpu_ratio) == (None, None)


def test_a_difference_between_contestants_names_the_column():
    rows = [{"id": "c1", "duration": 300}], [{"id": "c1", "duration": 301}]
    assert difference(*rows) == "in the column duration 300 instead of 301"


def test_only_ratios_beyond_the_margin_are_regressions():
    slower = copy.deepcopy(RUN)
    result = slower["workloads"]["get/20"]["results"]["ours"]
    result |= {"ratio": 0.9, "low": 0.64, "cpu_ratio": 0.45}
    assert list(regressions(slower, RUN)) == []
    result |= {"low": 0.66, "cpu_ratio": 0.47}
    assert list(regressions(slower, RUN)) == [
        "get/20: client CPU is 0.47 of asyncpg, was 0.40 (margin 15%)",
        "get/20: time is 0.66 of asyncpg, was 0.50 (margin 30%)",
    ]
    assert list(regressions(RUN, slower)) == []


def test_chart_is_valid_svg_with_a_mark_for_each_contestant():
    svg = draw(RUN)
    root = ET.fromstring(svg)  # noqa: S314  # our own text
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "content item by key, 20 tasks" in svg
    assert "SQLAlchemy &lt;Core&gt;" in svg
    _, _, width, _ = map(float, root.attrib["viewBox"].split())
    circles = root.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 4  # two in the legend, two in the line
    assert all(0 < float(circle.attrib["cx"]) < width for circle in circles)


def test_published_tables_have_all_results():
    lines = list(section(RUN))
    assert "| content item by key | 20 | asyncpg | 0.50 | 99.00 |" in lines
    assert "| content item by key | 20 | 400 µs | 300 µs | 200 µs | 100 µs |  |" in lines
    assert "| events, bytes per row | 1,974 | 2,045 |" in lines
    assert "| learner --help | 0.25 s |" in lines
    assert "| /health/db, 1 connection | 612 |" in lines
