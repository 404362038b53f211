"""Every formula equals its equals in torch, transformers, optax and Keras, at every step, to 1e-12 in double precision.

The tables say which schedule of theirs is which expression of ours, for every schedule that they have; those without an
equal stand in `WITHOUT_AN_EQUAL`, with the reason.
"""

import contextlib
import sys
import types
import warnings

import jax
import numpy as np
import pytest
import transformers
from torch.optim import lr_scheduler as of_torch
from torch.optim import swa_utils

import keras
import optax
import torch
from surefoot.schedules import (
    constant,
    cosine_decay,
    cosine_restarts,
    cyclic,
    cyclic_momentum,
    exponential_decay,
    inverse_sqrt_decay,
    inverse_time_decay,
    linear_decay,
    linear_warmup,
    multistep,
    noam,
    one_cycle,
    one_cycle_momentum,
    piecewise,
    polynomial_decay,
    power_decay,
    rex,
    step_decay,
    warmup_stable_decay,
)

BASE = 0.3
N = 60
HF = {"num_warmup_steps": 7, "num_training_steps": N}


def rates(make, steps=N, key="lr"):
    """Return the rates (or momenta) that a torch scheduler writes at steps 0 to `steps`, in a run of nothing."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE, momentum=0.9)
    scheduler = make(optimizer)
    found = [optimizer.param_groups[0][key]]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        found.append(optimizer.param_groups[0][key])
    return found


def assert_same(schedule, theirs, base=BASE):
    ours = [base * schedule(step) for step in range(len(theirs))]
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) <= 1e-12


def sequence(optimizer):
    warmup = of_torch.LinearLR(optimizer, start_factor=0.1, total_iters=10)
    cosine = of_torch.CosineAnnealingLR(optimizer, T_max=N - 10, eta_min=0.02)
    return of_torch.SequentialLR(optimizer, [warmup, cosine], milestones=[10])


def chain(optimizer):
    constants = of_torch.ConstantLR(optimizer, factor=0.25, total_iters=20)
    return of_torch.ChainedScheduler([constants, of_torch.ExponentialLR(optimizer, gamma=0.9)])


TORCH = {
    "LambdaLR": [
        (linear_warmup(10) >> linear_decay(50), lambda o: of_torch.LambdaLR(o, lambda t: min(t / 10, (60 - t) / 50))),
        (noam(10), lambda o: of_torch.LambdaLR(o, lambda t: min(t / 10, (t / 10) ** -0.5) if t else 0.0)),
    ],
    "MultiplicativeLR": [
        (exponential_decay(rate=0.95), lambda o: of_torch.MultiplicativeLR(o, lambda t: 0.95)),
        (multistep([9], factor=0.5), lambda o: of_torch.MultiplicativeLR(o, lambda t: 0.5 if t == 9 else 1.0)),
    ],
    "StepLR": [
        (step_decay(7, factor=0.5), lambda o: of_torch.StepLR(o, step_size=7, gamma=0.5)),
        (step_decay(20), lambda o: of_torch.StepLR(o, step_size=20)),
        (exponential_decay(rate=0.5, every=7, staircase=True), lambda o: of_torch.StepLR(o, step_size=7, gamma=0.5)),
    ],
    "MultiStepLR": [
        (multistep([20, 40]), lambda o: of_torch.MultiStepLR(o, milestones=[20, 40])),
        (multistep([20, 40, 40, 41], factor=0.7), lambda o: of_torch.MultiStepLR(o, [20, 40, 40, 41], gamma=0.7)),
        (piecewise({20: 0.1, 40: 0.1 * 0.1}), lambda o: of_torch.MultiStepLR(o, milestones=[20, 40], gamma=0.1)),
    ],
    "ConstantLR": [
        (constant(20, factor=0.25) >> constant(), lambda o: of_torch.ConstantLR(o, factor=0.25, total_iters=20)),
        (constant(5, factor=1 / 3) >> constant(), of_torch.ConstantLR),
    ],
    "LinearLR": [
        (linear_warmup(20, start=0.1), lambda o: of_torch.LinearLR(o, start_factor=0.1, total_iters=20)),
        (linear_decay(20, to=0.1), lambda o: of_torch.LinearLR(o, 1.0, 0.1, total_iters=20)),
        (linear_warmup(5, start=1 / 3), of_torch.LinearLR),
        (0.8 * linear_warmup(20, start=0.25), lambda o: of_torch.LinearLR(o, 0.2, 0.8, total_iters=20)),
        (0.8 * linear_decay(20, to=0.5), lambda o: of_torch.LinearLR(o, 0.8, 0.4, total_iters=20)),
    ],
    "ExponentialLR": [(exponential_decay(rate=0.9), lambda o: of_torch.ExponentialLR(o, gamma=0.9))],
    "SequentialLR": [(linear_warmup(10, start=0.1) >> cosine_decay(N - 10, to=0.02 / BASE), sequence)],
    "ChainedScheduler": [((constant(20, factor=0.25) >> constant()) * exponential_decay(rate=0.9), chain)],
    "PolynomialLR": [
        (polynomial_decay(40, power=2.5), lambda o: of_torch.PolynomialLR(o, total_iters=40, power=2.5)),
        (polynomial_decay(5), of_torch.PolynomialLR),
    ],
    "CosineAnnealingLR": [
        (cosine_decay(N), lambda o: of_torch.CosineAnnealingLR(o, T_max=N)),
        (cosine_decay(N, to=0.02 / BASE), lambda o: of_torch.CosineAnnealingLR(o, T_max=N, eta_min=0.02)),
    ],
    "CosineAnnealingWarmRestarts": [
        (cosine_restarts(7, length=99), lambda o: of_torch.CosineAnnealingWarmRestarts(o, 7)),
        (
            cosine_restarts(7, length=99, length_factor=2, to=0.02 / BASE),
            lambda o: of_torch.CosineAnnealingWarmRestarts(o, 7, T_mult=2, eta_min=0.02),
        ),
        (cosine_restarts(4, length=99, length_factor=3), lambda o: of_torch.CosineAnnealingWarmRestarts(o, 4, T_mult=3)),
    ],
    "CyclicLR": [
        (cyclic(up, down, start=0.1, **ours), lambda o, up=up, down=down, theirs=theirs: of_torch.CyclicLR(
            o, base_lr=0.1 * BASE, max_lr=BASE, step_size_up=up, step_size_down=down, **theirs))
        for up, down in ((10, None), (7, 12))
        for ours, theirs in (
            ({}, {}),
            ({"shape": "triangular2"}, {"mode": "triangular2"}),
            ({"shape": "exp_range", "gamma": 0.97}, {"mode": "exp_range", "gamma": 0.97}),
        )
    ],
    "SWALR": [
        (cosine_decay(15, to=0.1), lambda o: swa_utils.SWALR(o, swa_lr=0.1 * BASE, anneal_epochs=15)),
        (
            constant(99).cooldown_from(0, 15, to=0.1, shape="linear"),
            lambda o: swa_utils.SWALR(o, swa_lr=0.1 * BASE, anneal_epochs=15, anneal_strategy="linear"),
        ),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("schedule", "make"), [pytest.param(*row, id=f"{name} {row[0]!r}") for name, rows in TORCH.items() for row in rows]
)
def test_equals_torch(schedule, make):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The epoch parameter")  # SequentialLR warns about itself
        assert_same(schedule.resolve(99), rates(make))


@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize(("n", "share"), [(60, 0.3), (25, 0.3), (60, 0.45)])
@pytest.mark.parametrize(("div", "final"), [(25.0, 1e4), (10.0, 50.0)])
def test_equals_torch_one_cycle(n, share, anneal, three_phase, div, final):
    def make(optimizer):
        settings = {"anneal_strategy": anneal, "three_phase": three_phase, "div_factor": div, "final_div_factor": final}
        return of_torch.OneCycleLR(optimizer, max_lr=BASE, total_steps=n, pct_start=share, **settings)

    rise = share * n - 1  # torch counts one step fewer in every phase
    phases = {"warmup_steps": rise, "down_steps": rise if three_phase else None}
    phases["shape"] = "linear" if anneal == "linear" else "cosine"
    assert_same(one_cycle(n - 1, start=1 / div, to=1 / div / final, **phases), rates(make, n - 1))
    assert_same(one_cycle_momentum(n - 1, **phases), rates(make, n - 1, "momentum"), base=1.0)


@pytest.mark.parametrize(("up", "down"), [(10, None), (7, 12)])
@pytest.mark.parametrize(("shape", "gamma"), [("triangular", 1.0), ("triangular2", 1.0), ("exp_range", 0.95)])
def test_equals_torch_cyclic_momentum(up, down, shape, gamma):
    def make(optimizer):
        settings = {"mode": shape, "gamma": gamma, "base_momentum": 0.7, "max_momentum": 0.95}
        return of_torch.CyclicLR(optimizer, 0.1, BASE, step_size_up=up, step_size_down=down, **settings)

    schedule = cyclic_momentum(up, down, length=99, low=0.7, high=0.95, shape=shape, gamma=gamma)
    assert_same(schedule.resolve(99), rates(make, key="momentum"), base=1.0)


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
    "cosine with hard restarts": (
        linear_warmup(7) >> cosine_restarts(53 / 4),
        "get_cosine_with_hard_restarts_schedule_with_warmup",
        {**HF, "num_cycles": 4},
    ),
    "cosine with one hard restart less": (
        linear_warmup(7) >> cosine_restarts(53),
        "get_cosine_with_hard_restarts_schedule_with_warmup",
        HF,
    ),
    "cosine, a step early": (
        (linear_warmup(7) >> cosine_decay(53, to=0.1)).shifted(-1),
        "get_cosine_with_min_lr_schedule_with_warmup_lr_rate",
        {**HF, "min_lr_rate": 0.1},
    ),
    "cosine, a step early, with a start": (
        linear_warmup(6, start=0.2) >> cosine_decay(53, to=0.1 / BASE),
        "get_cosine_with_min_lr_schedule_with_warmup_lr_rate",
        {**HF, "min_lr": 0.1, "warmup_lr_rate": 0.2},
    ),
    "noam": (noam(7), "get_inverse_sqrt_schedule", {"num_warmup_steps": 7}),
    "wsd, warm-up on a cosine": (
        piecewise({0: 0.1, 7: 1.0}, length=7, shape="cosine") >> constant(33) >> cosine_decay(20, to=0.1),
        "get_wsd_schedule",
        {
            **HF,
            "num_training_steps": None,
            "num_stable_steps": 33,
            "num_decay_steps": 20,
            "min_lr_ratio": 0.1,
            "warmup_type": "cosine",
        },
    ),
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
    last = N - 1 if "early" in name else N  # a step after the end that schedule climbs again, as all its cosines do
    assert_same(schedule.resolve(N), rates(lambda optimizer: theirs(optimizer, **settings), last))


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
    "optax.exponential_decay(B, 10, 0.5, transition_begin=5)": constant(5) >> exponential_decay(rate=0.5, every=10),
    "optax.polynomial_schedule(B, 0.1 * B, 2.5, 40, transition_begin=5)": constant(5)
    >> polynomial_decay(40, to=0.1, power=2.5),
    "optax.warmup_cosine_decay_schedule(0.1 * B, B, 10, 60, 0.1 * B, exponent=1.7)": linear_warmup(10, start=0.1)
    >> cosine_decay(to=0.1, power=1.7),
    "optax.warmup_exponential_decay_schedule(0.1 * B, B, 10, 5, 0.7)": linear_warmup(10, start=0.1)
    >> exponential_decay(rate=0.7, every=5),
    "optax.warmup_exponential_decay_schedule(0.0, B, 10, 5, 0.7, 4, True, 0.3 * B)": linear_warmup(10)
    >> constant(4)
    >> exponential_decay(rate=0.7, every=5, staircase=True, to=0.3),
    "optax.cosine_onecycle_schedule(60, B, 0.4, 10.0, 100.0)": one_cycle(warmup_steps="40%", start=0.1, to=0.1 / 100),
    "optax.linear_onecycle_schedule(60, B, 0.25, 0.75, 10.0, 100.0)": one_cycle(
        warmup_steps=15, down_steps=30, start=0.1, to=0.1 / 100, shape="linear"
    ),
    "optax.sgdr_schedule([dict(init_value=B * 0.5**i, peak_value=B * 0.5**i, warmup_steps=0, decay_steps=10 * 2**i)"
    " for i in range(3)])": cosine_restarts(10, length=99, length_factor=2, height_factor=0.5),
    "optax.sgdr_schedule([dict(init_value=0.0, peak_value=B, warmup_steps=4, decay_steps=20, end_value=0.1 * B),"
    " dict(init_value=0.1 * B, peak_value=0.5 * B, warmup_steps=2, decay_steps=40, end_value=0.05 * B)])": (
        linear_warmup(4) >> cosine_decay(16, to=0.1) >> 0.5 * (linear_warmup(2, start=0.2) >> cosine_decay(38, to=0.1))
    ),
    "optax.join_schedules([optax.linear_schedule(0, B, 10), optax.constant_schedule(B),"
    " optax.linear_schedule(B, 0, 20)], [10, 40])": linear_warmup(10) >> constant() >> linear_decay(20),
}


@pytest.mark.parametrize("source", OPTAX)
def test_equals_optax(source):
    with jax.enable_x64():  # optax computes in float32 otherwise, which is good to 1e-7 only
        schedule = eval(source, {"optax": optax, "B": BASE})
        theirs = [float(schedule(jax.numpy.asarray(step))) for step in range(N + 1)]
    horizon = 99 if "sgdr_schedule([dict(init_value=B" in source else N  # whose last cycle ends after the run
    assert_same(OPTAX[source].resolve(horizon), theirs)


KERAS = {
    "K.ExponentialDecay(B, 10, 0.5)": exponential_decay(rate=0.5, every=10),
    "K.ExponentialDecay(B, 7, 0.9, staircase=True)": exponential_decay(rate=0.9, every=7, staircase=True),
    "K.PiecewiseConstantDecay([20, 40], [B, 0.5 * B, 0.1 * B])": piecewise({21: 0.5, 41: 0.1}),  # theirs: after 20
    "K.PolynomialDecay(B, 40, 0.1 * B)": polynomial_decay(40, to=0.1),
    "K.PolynomialDecay(B, 40, 0.1 * B, power=2.5)": polynomial_decay(40, to=0.1, power=2.5),
    "K.PolynomialDecay(B, 17, 0.1 * B, power=2.5, cycle=True)": polynomial_decay(to=0.1, power=2.5, cycle=17),
    "K.PolynomialDecay(B, 20, 0.0, cycle=True)": polynomial_decay(cycle=20),
    "K.InverseTimeDecay(B, 10, 0.5)": inverse_time_decay(10, rate=0.5),
    "K.InverseTimeDecay(B, 7, 2.0, staircase=True)": inverse_time_decay(7, rate=2.0, staircase=True),
    "K.CosineDecay(B, 40)": cosine_decay(40),
    "K.CosineDecay(B, 40, alpha=0.1)": cosine_decay(40, to=0.1),
    "K.CosineDecay(0.2 * B, 40, alpha=0.1, warmup_target=B, warmup_steps=10)": linear_warmup(10, start=0.2)
    >> cosine_decay(40, to=0.1),
    "K.CosineDecayRestarts(B, 10)": cosine_restarts(10, length=99, length_factor=2.0),
    "K.CosineDecayRestarts(B, 7, t_mul=1.0, alpha=0.1)": cosine_restarts(7, length=99, to=0.1),
    "K.CosineDecayRestarts(B, 7, t_mul=1.5, m_mul=0.8, alpha=0.1)": cosine_restarts(
        7, length=99, length_factor=1.5, height_factor=0.8, to=0.1
    ),
    "K.CosineDecayRestarts(B, 7, t_mul=1.0, m_mul=0.5)": cosine_restarts(7, length=99, height_factor=0.5),
}


# Keras computes schedules in float32, and its `ops.cos` even then when all else is told to be float64. So its formulas,
# which are its own code, are run here on NumPy's doubles.
DOUBLES = types.SimpleNamespace(
    name_scope=contextlib.nullcontext,
    convert_to_tensor=np.float64,
    cast=lambda x, dtype: np.float64(x),
    array=lambda x, dtype=None: np.float64(x),
    cond=lambda condition, yes, no: yes() if condition else no(),
    **{name: getattr(np, name) for name in ("add", "ceil", "cos", "divide", "equal", "floor", "log", "minimum")},
    **{name: getattr(np, name) for name in ("multiply", "power", "subtract", "where")},
)


@pytest.mark.parametrize("source", KERAS)
def test_equals_keras(source, monkeypatch):
    schedules = keras.optimizers.schedules
    schedule = eval(source, {"K": schedules, "B": BASE})
    in_float32 = float(schedule(33))  # one step only: Keras compiles anew at each
    monkeypatch.setattr(sys.modules[schedules.CosineDecay.__module__], "ops", DOUBLES)
    theirs = [float(schedule(step)) for step in range(N + 1)]
    assert theirs[33] == pytest.approx(in_float32, abs=1e-6)
    assert_same(KERAS[source].resolve(99), theirs)


# What they have not, or what no package here has: held against the formula of the paper, written the obvious way.
PAPERS = {
    "Vaswani et al., 2017": (noam(10), lambda s: min(s**-0.5, s * 10**-1.5) / 10**-0.5 if s else 0.0),
    "Chen et al., 2021": (rex(N), lambda s: (1 - s / N) / (0.5 + 0.5 * (1 - s / N))),
    "Chen et al., 2021, with a floor": (rex(N, to=0.1), lambda s: 0.1 + 0.9 * (1 - s / N) / (1 - s / N / 2)),
    "Shen et al., 2024": (power_decay(8, exponent=-0.51), lambda s: min(1.0, 8**0.51 * s**-0.51) if s else 1.0),
}


@pytest.mark.parametrize("paper", PAPERS)
def test_equals_the_paper(paper):
    schedule, formula = PAPERS[paper]
    assert_same(schedule.resolve(N), [formula(step) for step in range(N + 1)], base=1.0)


FEEDBACK = "looks at a metric: that is a controller's business, not a function of the step"
CLIMBS = "climbs after its end, or falls below 0 and is cut: `from_function` can repeat it"
WITHOUT_AN_EQUAL = {
    "torch": {
        "LRScheduler": "the base class",
        "ReduceLROnPlateau": FEEDBACK,
        "CyclicLR(scale_fn=...)": "any function: `from_function`",
        "ExponentialLR(gamma > 1), StepLR(gamma > 1)": "rises without bound: `from_function`",
    },
    "transformers": {
        "get_reduce_on_plateau_schedule": FEEDBACK,
        "get_greedy_schedule": FEEDBACK,
        "get_adafactor_schedule": "no schedule: it shows the rate that Adafactor has chosen",
        "get_cosine_schedule_with_warmup(num_cycles != 0.5), and its kin": CLIMBS,
        "get_wsd_schedule(warmup_type='1-sqrt')": "a rise of infinite slope at its end: `from_function`",
    },
    "optax": {
        "exponential_decay(decay_rate > 1)": "rises without bound: `from_function`",
        "inject_hyperparams": "no schedule",
    },
    "keras": {"LearningRateSchedule": "the base class"},
}
TORCH_ELSEWHERE = {"OneCycleLR"}  # in a test of its own above


def test_no_schedule_of_torch_is_forgotten():
    theirs = {
        name
        for name, kind in vars(of_torch).items()
        if isinstance(kind, type) and issubclass(kind, of_torch.LRScheduler) and not name.startswith("_")
    }
    assert theirs <= {*TORCH, *TORCH_ELSEWHERE, *WITHOUT_AN_EQUAL["torch"]}


def test_no_schedule_of_transformers_is_forgotten():
    names = vars(transformers.optimization)
    theirs = {name for name in names if name.startswith("get_") and "schedule" in name} - {"get_scheduler"}
    assert theirs <= {*(row[1] for row in TRANSFORMERS.values()), *WITHOUT_AN_EQUAL["transformers"]}


def test_no_schedule_of_optax_is_forgotten():
    theirs = {
        name for name in dir(optax.schedules) if name[0] != "_" and name.endswith(("schedule", "schedules", "decay"))
    }
    assert {name for name in theirs if not any(f"optax.{name}(" in source for source in OPTAX)} == set()


def test_no_schedule_of_keras_is_forgotten():
    theirs = {name for name in dir(keras.optimizers.schedules) if name[0].isupper()}
    assert theirs == {*(source[2:].partition("(")[0] for source in KERAS), *WITHOUT_AN_EQUAL["keras"]}
