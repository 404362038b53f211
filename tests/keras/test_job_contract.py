import pytest

from surefoot.testing import check_job

from .jobs import JOBS, job

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.parametrize("name", JOBS)
def test_keeps_the_contract(name):
    check_job(lambda: job(**JOBS[name]()), steps=7)  # an epoch has 6; 3 where gradients are accumulated
