"""Every formula equals its equals in torch, transformers and optax, at every step, to 1e-12 in double precision."""

import warnings

import jax
import pytest
import transformers
from torch.optim import lr_scheduler as of_torch

import optax
import torch
from surefoot.schedules import (
    constant,
    cosine_decay,
    exponential_decay,
    inverse_sqrt_decay,
    linear_decay,
    linear_warmup,
    one_cycle,
    piecewise,
    polynomial_decay,
    warmup_stable_decay,
)

BASE = 0.3
N = 60
HF = {"num_warmup_steps": 7, "num_training_steps": N}


def rates(make, steps=N):
    """Return the rates that a torch scheduler writes at steps 0 to `steps`, in a run of nothing."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    scheduler = make(optimizer)
    found = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found


def assert_same(schedule, theirs, base=BASE):
    ours = [base * schedule(step) for step in range(len(theirs))]
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) <= 1e-12


def sequence(optimizer):
    warmup = of_torch.LinearLR(optimizer, start_factor=0.1, total_iters=10)
    cosine = of_torch.CosineAnnealingLR(optimizer, T_max=N - 10, eta_min=0.02)
    return of_torch.SequentialLR(optimizer, [warmup, cosine], milestones=[10])


TORCH = {
    "ConstantLR": (
        constant(20, factor=0.25) >> constant(),
        lambda o: of_torch.ConstantLR(o, factor=0.25, total_iters=20),
    ),
    "LinearLR up": (linear_warmup(20, start=0.1), lambda o: of_torch.LinearLR(o, start_factor=0.1, total_iters=20)),
    "LinearLR down": (
        linear_decay(20, to=0.1),
        lambda o: of_torch.LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=20),
    ),
    "ExponentialLR": (exponential_decay(rate=0.9), lambda o: of_torch.ExponentialLR(o, gamma=0.9)),
    "StepLR": (
        exponential_decay(rate=0.5, every=7, staircase=True),
        lambda o: of_torch.StepLR(o, step_size=7, gamma=0.5),
    ),
    "MultiStepLR": (
        piecewise({20: 0.1, 40: 0.1 * 0.1}),
        lambda o: of_torch.MultiStepLR(o, milestones=[20, 40], gamma=0.1),
    ),
    "PolynomialLR": (
        polynomial_decay(40, power=2.5),
        lambda o: of_torch.PolynomialLR(o, total_iters=40, power=2.5),
    ),
    "CosineAnnealingLR": (
        cosine_decay(N, to=0.02 / BASE),
        lambda o: of_torch.CosineAnnealingLR(o, T_max=N, eta_min=0.02),
    ),
    "LambdaLR": (
        linear_warmup(10) >> linear_decay(50),
        lambda o: of_torch.LambdaLR(o, lambda t: t / 10 if t < 10 else (60 - t) / 50),
    ),
    "SequentialLR": (linear_warmup(10, start=0.1) >> cosine_decay(N - 10, to=0.02 / BASE), sequence),
}


@pytest.mark.parametrize("name", TORCH)
def test_equals_torch(name):
    schedule, make = TORCH[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The epoch parameter")  # SequentialLR warns about itself
        assert_same(schedule.resolve(N), rates(make))


@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize(("n", "share"), [(60, 0.3), (25, 0.3), (60, 0.45)])
def test_equals_torch_one_cycle(n, share, anneal, three_phase):
    def make(optimizer):
        settings = {"anneal_strategy": anneal, "three_phase": three_phase, "cycle_momentum": False}
        return of_torch.OneCycleLR(optimizer, max_lr=BASE, total_steps=n, pct_start=share, **settings)

    rise = share * n - 1  # torch counts one step fewer in every phase
    schedule = one_cycle(
        n - 1,
        warmup_steps=rise,
        down_steps=rise if three_phase else None,
        shape="linear" if anneal == "linear" else "cosine",
    )
    assert_same(schedule, rates(make, n - 1))


TRANSFORMERS = {
    "constant": (constant(), "get_constant_schedule", {}),
    "constant with warm-up": (
        linear_warmup(7) >> constant(),
        "get_constant_schedule_with_warmup",
        {"num_warmup_steps": 7},
    ),
    "linear": (linear_warmup(7) >> linear_decay(), "get_linear_schedule_with_warmup", HF),
    "linear without warm-up": (
        linear_warmup(0) >> linear_decay(),
        "get_linear_schedule_with_warmup",
        {**HF, "num_warmup_steps": 0},
    ),
    "cosine": (linear_warmup(7) >> cosine_decay(), "get_cosine_schedule_with_warmup", HF),
    "cosine with a floor": (
        linear_warmup(7) >> cosine_decay(to=0.1),
        "get_cosine_with_min_lr_schedule_with_warmup",
        {**HF, "min_lr_rate": 0.1},
    ),
    "polynomial": (
        linear_warmup(7) >> polynomial_decay(power=3, to=0.01 / BASE),
        "get_polynomial_decay_schedule_with_warmup",
        {**HF, "power": 3, "lr_end": 0.01},
    ),
    "inverse square root": (
        linear_warmup(7) >> inverse_sqrt_decay(),
        "get_inverse_sqrt_schedule",
        {"num_warmup_steps": 7},
    ),
    "inverse square root, timescale": (
        linear_warmup(7) >> inverse_sqrt_decay(timescale=300),
        "get_inverse_sqrt_schedule",
        {"num_warmup_steps": 7, "timescale": 300},
    ),
    **{
        f"wsd, {shape}": (
            warmup_stable_decay(7, 20, start=0.1, to=0.1, shape=shape),
            "get_wsd_schedule",
            {**HF, "num_decay_steps": 20, "min_lr_ratio": 0.1, "decay_type": shape},
        )
        for shape in ("linear", "1-sqrt", "cosine")
    },
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_equals_transformers(name):
    schedule, function, settings = TRANSFORMERS[name]
    theirs = getattr(transformers, function, None) or getattr(transformers.optimization, function)
    assert_same(schedule.resolve(N), rates(lambda optimizer: theirs(optimizer, **settings)))


OPTAX = {
    "optax.constant_schedule(B)": constant(),
    "optax.linear_schedule(B, 0.1 * B, 40)": linear_decay(40, to=0.1),
    "optax.linear_schedule(B, 0.1 * B, 40, transition_begin=5)": constant(5) >> linear_decay(40, to=0.1),
    "optax.cosine_decay_schedule(B, 40, alpha=0.1)": cosine_decay(40, to=0.1),
    "optax.cosine_decay_schedule(B, 40, alpha=0.1, exponent=1.7)": cosine_decay(40, to=0.1, power=1.7),
    "optax.exponential_decay(B, 10, 0.5)": exponential_decay(rate=0.5, every=10),
    "optax.exponential_decay(B, 10, 0.5, staircase=True)": exponential_decay(rate=0.5, every=10, staircase=True),
    "optax.exponential_decay(B, 10, 0.5, end_value=0.1 * B)": exponential_decay(rate=0.5, every=10, to=0.1),
    "optax.polynomial_schedule(B, 0.1 * B, 2.5, 40)": polynomial_decay(40, to=0.1, power=2.5),
    "optax.warmup_constant_schedule(0.1 * B, B, 10)": linear_warmup(10, start=0.1) >> constant(),
    "optax.warmup_cosine_decay_schedule(0.0, B, 10, 60, 0.1 * B)": linear_warmup(10) >> cosine_decay(to=0.1),
    "optax.cosine_onecycle_schedule(60, B)": one_cycle(),
    "optax.linear_onecycle_schedule(60, B)": one_cycle(warmup_steps=18, down_steps=33, shape="linear"),
    "optax.piecewise_constant_schedule(B, {20: 0.5, 40: 0.1})": piecewise({20: 0.5, 40: 0.05}),
    "optax.piecewise_interpolate_schedule('linear', B, {20: 0.5, 40: 0.1})": piecewise(
        {20: 0.5, 40: 0.05}, shape="linear"
    ),
    "optax.piecewise_interpolate_schedule('cosine', B, {20: 0.5, 40: 0.1})": piecewise(
        {20: 0.5, 40: 0.05}, shape="cosine"
    ),
    "optax.join_schedules([optax.linear_schedule(0, B, 10), optax.constant_schedule(B),"
    " optax.linear_schedule(B, 0, 20)], [10, 40])": linear_warmup(10) >> constant() >> linear_decay(20),
}


@pytest.mark.parametrize("source", OPTAX)
def test_equals_optax(source):
    with jax.enable_x64():  # optax computes in float32 otherwise, which is good to 1e-7 only
        schedule = eval(source, {"optax": optax, "B": BASE})
        theirs = [float(schedule(jax.numpy.asarray(step))) for step in range(N + 1)]
    assert_same(OPTAX[source].resolve(N), theirs)
