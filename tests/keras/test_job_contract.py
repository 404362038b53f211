import pytest

from surefoot.testing import check_job

from .jobs import JOBS, SLOW_JOBS, job

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.parametrize("name", JOBS)
def test_keeps_the_contract(name):
    check_job(lambda: job(**JOBS[name]()), steps=7)  # an epoch has 6, or 2 where gradients are accumulated


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_JOBS)
def test_every_kind_of_job_keeps_the_contract(name):
    check_job(lambda: job(**SLOW_JOBS[name]()), steps=7)
