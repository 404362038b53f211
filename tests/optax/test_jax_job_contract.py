import jax
import pytest

from surefoot.testing import check_job

from .jobs import JOBS, job


@pytest.mark.parametrize("name", JOBS)
def test_keeps_the_contract(name):
    check_job(lambda: job(**JOBS[name]), steps=11)  # an epoch has 6


def test_keeps_the_contract_in_double_precision():
    with jax.enable_x64(True):
        check_job(job, steps=11)
