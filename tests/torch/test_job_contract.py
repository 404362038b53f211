import pytest

import torch
from surefoot.testing import check_job

from .jobs import JOBS, job


@pytest.mark.parametrize("name", JOBS)
def test_keeps_the_contract(name):
    check_job(lambda: job(**JOBS[name]()), steps=11)  # an epoch has 6 or 7


def test_an_optimizer_of_some_parameters_keeps_it_too():
    """The gradients of the others are never set to zero; clipping must not see them."""

    def some(params, lr):
        return torch.optim.SGD(list(params)[:2], lr=lr)

    check_job(lambda: job(optimizer=some, clip_norm=0.1), steps=11)
