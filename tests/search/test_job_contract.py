import sys

import pytest

import surefoot as sf
from surefoot.testing import check_job

from .fakes import FakeJob, function_job


def seeded(learning_rate, steps, seed):
    return (learning_rate - 0.01) ** 2 + 1 / steps + seed / 1000


SCRIPT = "import sys; print('val_loss =', float(sys.argv[1]) + 1 / int(sys.argv[2]) + int(sys.argv[3]))"

JOBS = {
    "fake": lambda: FakeJob(noise=0.01),
    "function": lambda: sf.FunctionJob(seeded, 100),
    "function with a schedule": lambda: sf.FunctionJob(seeded, 100, schedule=sf.cosine_decay(), epochs=3.0),
    "command": lambda: sf.CommandJob([sys.executable, "-c", SCRIPT, "{lr}", "{steps}", "{seed}"], total_steps=100),
}


@pytest.mark.parametrize("name", JOBS)
def test_keeps_the_contract(name):
    check_job(JOBS[name], steps=10)


def test_a_job_without_chance_keeps_it_too():
    check_job(function_job, uses_seed=False)
    check_job(FakeJob, uses_seed=False)
