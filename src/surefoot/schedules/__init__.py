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

from surefoot.schedules._check import Finding as Finding
from surefoot.schedules._check import check as check
from surefoot.schedules._cycles import one_cycle as one_cycle
from surefoot.schedules._cycles import one_cycle_momentum as one_cycle_momentum
from surefoot.schedules._cycles import warmup_stable_decay as warmup_stable_decay
from surefoot.schedules._json import from_dict as from_dict
from surefoot.schedules._laws import inverse_time_decay as inverse_time_decay
from surefoot.schedules._laws import noam as noam
from surefoot.schedules._laws import power_decay as power_decay
from surefoot.schedules._laws import rex as rex
from surefoot.schedules._laws import step_decay as step_decay
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
from surefoot.schedules._tables import from_table as from_table
from surefoot.schedules._tables import multistep as multistep
from surefoot.schedules._time import parse_duration as parse_duration
from surefoot.schedules._time import step_at_time as step_at_time
from surefoot.schedules._waves import cosine_restarts as cosine_restarts
from surefoot.schedules._waves import cyclic as cyclic
from surefoot.schedules._waves import cyclic_momentum as cyclic_momentum

__all__ = [
    "Finding",
    "Schedule",
    "check",
    "constant",
    "cosine_decay",
    "cosine_restarts",
    "cyclic",
    "cyclic_momentum",
    "exponential_decay",
    "from_dict",
    "from_function",
    "from_table",
    "inverse_sqrt_decay",
    "inverse_time_decay",
    "linear_decay",
    "linear_warmup",
    "multistep",
    "noam",
    "one_cycle",
    "one_cycle_momentum",
    "parse_duration",
    "piecewise",
    "polynomial_decay",
    "power_decay",
    "rex",
    "step_at_time",
    "step_decay",
    "warmup_stable_decay",
]
