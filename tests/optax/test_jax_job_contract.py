import pytest

from surefoot.testing import check_job

from .jobs import JOBS, job


@pytest.mark.parametrize("name", JOBS)
def test_keeps_the_contract(name):
    check_job(lambda: job(**JOBS[name]), steps=11)  # an epoch has 6
