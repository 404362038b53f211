"""Schedules: pure functions of the step, with a repr, equality, an algebra and a JSON form.

A schedule gives a *factor* of the base learning rate, so one schedule serves every parameter group and every rate that
is found. It is written in a few words, with lengths in steps, epochs or a share of the run, and resolved when the run's
length is known:

    >>> from surefoot.schedules import cosine_decay, linear_warmup
    >>> schedule = linear_warmup("5%") >> cosine_decay(to=0.1)
    >>> [round(factor, 2) for factor in schedule.simulate(total_steps=40)[:5]]
    [0.0, 0.5, 1.0, 1.0, 0.99]

The same value takes Python numbers, NumPy arrays, torch tensors and JAX values, under `jit` and `torch.compile` too.
Importing this package loads none of them.
"""

from __future__ import annotations

from surefoot.schedules._cycles import one_cycle as one_cycle
from surefoot.schedules._cycles import warmup_stable_decay as warmup_stable_decay
from surefoot.schedules._json import from_dict as from_dict
from surefoot.schedules._points import from_function as from_function
from surefoot.schedules._points import piecewise as piecewise
from surefoot.schedules._schedule import Schedule as Schedule
from surefoot.schedules._shapes import constant as constant
from surefoot.schedules._shapes import cosine_decay as cosine_decay
from surefoot.schedules._shapes import exponential_decay as exponential_decay
from surefoot.schedules._shapes import inverse_sqrt_decay as inverse_sqrt_decay
from surefoot.schedules._shapes import linear_decay as linear_decay
from surefoot.schedules._shapes import linear_warmup as linear_warmup
from surefoot.schedules._shapes import polynomial_decay as polynomial_decay

__all__ = [
    "Schedule",
    "constant",
    "cosine_decay",
    "exponential_decay",
    "from_dict",
    "from_function",
    "inverse_sqrt_decay",
    "linear_decay",
    "linear_warmup",
    "one_cycle",
    "piecewise",
    "polynomial_decay",
    "warmup_stable_decay",
]
