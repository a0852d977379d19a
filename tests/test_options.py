"""The seed of the run decides all numbers of random tests."""

import random

import pytest
from hypothesis import core

from tests.options import run_seed


def test_random_numbers_depend_on_the_seed_and_the_test(request: pytest.FixtureRequest):
    seed = run_seed(request.config)
    expected = random.Random(f"{seed} {request.node.nodeid}").random()
    assert random.random() == expected


def test_hypothesis_has_the_seed_of_the_run(request: pytest.FixtureRequest):
    assert core.global_force_seed == run_seed(request.config)


def test_workers_have_the_seed_of_the_run(request: pytest.FixtureRequest):
    worker = getattr(request.config, "workerinput", {})
    assert worker.get("seed", run_seed(request.config)) == run_seed(request.config)
