"""The formulas again, at settings that Hypothesis draws: they equal torch's and transformers' at every step of a run."""

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler as of_torch

from surefoot.schedules import (
    cosine_decay,
    cosine_restarts,
    cyclic,
    exponential_decay,
    linear_decay,
    linear_warmup,
    multistep,
    noam,
    one_cycle,
    one_cycle_momentum,
    polynomial_decay,
    step_decay,
    warmup_stable_decay,
)

from .test_golden import BASE, N, assert_same, rates

FEW = settings(max_examples=15, deadline=None, derandomize=True)

shares = st.floats(0.0, 0.99)
ratios = st.floats(0.05, 1.0)
steps = st.integers(1, N)


@FEW
@given(steps, ratios)
def test_step_decay_equals_step_lr(every, factor):
    ours = step_decay(every, factor=factor).resolve(N)
    assert_same(ours, rates(lambda o: of_torch.StepLR(o, step_size=every, gamma=factor)))
    assert ours.simulate(N) == exponential_decay(rate=factor, every=every, staircase=True).simulate(N)


@FEW
@given(st.lists(steps, min_size=1, max_size=5).map(sorted), ratios)
def test_multistep_equals_multistep_lr(milestones, factor):
    ours = multistep(milestones, factor=factor).resolve(N)
    assert_same(ours, rates(lambda o: of_torch.MultiStepLR(o, milestones, gamma=factor)))


@FEW
@given(steps, st.integers(1, 3), shares)
def test_cosine_restarts_equal_warm_restarts(first, factor, to):
    ours = cosine_restarts(first, length=10 * N, length_factor=factor, to=to).resolve(10 * N)
    theirs = rates(lambda o: of_torch.CosineAnnealingWarmRestarts(o, first, factor, eta_min=to * BASE))
    assert_same(ours, theirs)


@FEW
@given(steps, st.none() | steps, shares, st.sampled_from(["triangular", "triangular2", "exp_range"]), ratios)
def test_cyclic_equals_cyclic_lr(up, down, start, mode, ratio):
    gamma = ratio if mode == "exp_range" else 1.0

    def make(optimizer):
        rest = {"mode": mode, "gamma": gamma, "cycle_momentum": False}
        return of_torch.CyclicLR(optimizer, start * BASE, BASE, step_size_up=up, step_size_down=down, **rest)

    assert_same(cyclic(up, down, start=start, shape=mode, gamma=gamma).resolve(10 * N), rates(make))


@FEW
@given(st.integers(10, 60), st.floats(0.2, 0.45), st.booleans(), st.booleans(), st.floats(1.0, 50.0))
def test_one_cycle_equals_one_cycle_lr(n, share, is_linear, three_phase, div):
    def make(optimizer):
        rest = {"anneal_strategy": "linear" if is_linear else "cos", "three_phase": three_phase, "div_factor": div}
        return of_torch.OneCycleLR(optimizer, BASE, total_steps=n, pct_start=share, **rest)

    rise = share * n - 1
    phases = {"warmup_steps": rise, "down_steps": rise if three_phase else None}
    phases["shape"] = "linear" if is_linear else "cosine"
    assert_same(one_cycle(n - 1, start=1 / div, to=1 / div / 1e4, **phases), rates(make, n - 1))
    assert_same(one_cycle_momentum(n - 1, **phases), rates(make, n - 1, "momentum"), base=1.0)


@FEW
@given(st.integers(0, 20), st.integers(1, 30), shares, st.sampled_from(["linear", "cosine", "1-sqrt"]))
def test_warmup_stable_decay_equals_transformers(warmup, decay, to, shape):
    given_ = {"num_warmup_steps": warmup, "num_decay_steps": decay, "num_training_steps": N}
    theirs = rates(lambda o: transformers.get_wsd_schedule(o, **given_, min_lr_ratio=to, decay_type=shape))
    assert_same(warmup_stable_decay(warmup, decay, start=to, to=to, shape=shape).resolve(N), theirs)


@FEW
@given(st.integers(0, 30), st.floats(0.1, 4.0), st.floats(0.0, 0.9), st.sampled_from(["poly", "cosine", "linear"]))
def test_decays_after_a_warmup_equal_transformers(warmup, power, to, kind):
    run = {"num_warmup_steps": warmup, "num_training_steps": N}
    if kind == "poly":
        ours, rest = polynomial_decay(power=power, to=to), {"power": power, "lr_end": to * BASE}
        make = transformers.get_polynomial_decay_schedule_with_warmup
    elif kind == "cosine":
        ours, rest = cosine_decay(to=to), {"min_lr_rate": to}
        make = transformers.optimization.get_cosine_with_min_lr_schedule_with_warmup
    else:
        ours, rest, make = linear_decay(), {}, transformers.get_linear_schedule_with_warmup
    assert_same((linear_warmup(warmup) >> ours).resolve(N), rates(lambda o: make(o, **run, **rest)))


@FEW
@given(st.integers(1, 60))
def test_noam_equals_the_inverse_square_root_of_transformers(warmup):
    ours = noam(warmup).resolve(N)
    assert_same(ours, rates(lambda o: transformers.get_inverse_sqrt_schedule(o, warmup)))


@pytest.mark.parametrize("every", [41, 47, 61])
def test_a_drop_is_never_a_step_late_on_xla(every):
    import jax  # whose float32 quotients are products with the reciprocal: 41 / 41 < 1

    for schedule in (step_decay(every), exponential_decay(rate=0.5, every=every, staircase=True)):
        known = schedule.resolve(2000)
        assert known(jax.numpy.arange(2000)).tolist() == pytest.approx([known(step) for step in range(2000)], abs=1e-6)
