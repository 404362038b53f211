"""Each optimizer against Keras' own of that name: 500 steps on gradients meant to break it, and every option of Keras.

How equal. After every step, each weight may differ by a share of the largest value that it has had so far; half of the
weights start at 0, so that this holds for the changes and not only beside a large weight. The rate falls on the way and
epsilon is sometimes large: that shows whether the rate is inside a momentum buffer, and where epsilon is.

In float64 the share is 1e-12. Keras on TensorFlow takes its numbers through float32 on their way there (0.9 becomes
0.899999976), so that all are float32 numbers here; Nadam's own 0.96 is none, which leaves 1e-6. In float32 rounding adds up over the steps: 1e-5, where both do the same. Keras' own
`1 - beta^t` loses up to 1.3e-5 at t = 1 in float32 (beta 0.999 is off by 6e-8, of which 0.001 is left), its root half
of that; ours loses nothing, as the last test shows. So 2e-5 where that is all the difference.
"""

import inspect

import numpy as np
import pytest

import keras
import surefoot.keras

from .driving import path_of, same

STEPS = 500
OPTIONS = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adagrad", {}),
    ("Adagrad", {"initial_accumulator_value": 0.0, "epsilon": 1e-2}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Adadelta", {"rho": 0.5, "epsilon": 1e-2}),
    ("RMSprop", {}),
    ("RMSprop", {"rho": 0.5, "epsilon": 1e-2}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "epsilon": 1e-2}),
    ("Adam", {}),
    ("Adam", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2}),
    ("Adam", {"beta_1": 0.0}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("Nadam", {}),
    ("Nadam", {"beta_1": 0.5, "epsilon": 1e-2}),
    ("Adamax", {}),
    ("Adamax", {"beta_2": 0.9, "epsilon": 1e-2}),
    ("Lion", {}),
    ("Lion", {"beta_1": 1.0}),
]
each = pytest.mark.parametrize(("name", "options"), OPTIONS, ids=lambda v: v if isinstance(v, str) else repr(v))
plain = pytest.mark.parametrize(
    ("name", "options"),
    [o for o in OPTIONS if "epsilon" not in o[1]],
    ids=lambda v: v if isinstance(v, str) else repr(v),
)
NUMBERS = ("momentum", "rho", "beta_1", "beta_2", "epsilon", "initial_accumulator_value")


def gradients(huge, tiny, denormal):
    """Return one column for each kind of trouble, twice: the first half of the weights starts at 0."""
    random = np.random.default_rng(7)
    normal = random.normal(size=(STEPS, 6))
    columns = [
        *(normal * np.array([1.0, 1e-1, 1e-2, 1e-4, tiny, huge])).T,
        np.zeros(STEPS),
        np.full(STEPS, denormal),
        np.where(np.arange(STEPS) % 2, huge, -tiny),
        np.where(np.arange(STEPS) == 0, huge, tiny),  # once huge, then all but nothing
        np.where(np.arange(STEPS) % 50 == 49, 1.0, 0.0),  # sparse
        normal[:, 0] * np.array([tiny, huge, 1.0, denormal])[random.integers(4, size=STEPS)],
        np.abs(normal[:, 1]) + 0.1,
        np.where(np.arange(STEPS) < 250, 1.0, -1e-3) * np.abs(normal[:, 2]),
    ]
    return np.array(columns * 2).T


START = np.concatenate([np.zeros(14), np.random.default_rng(8).normal(size=14)])
RATES = [0.05 * (1.0 - 0.5 * step / STEPS) * (0.1 if step >= 200 else 1.0) for step in range(STEPS)]


def paths(name, options, grads, dtype):
    """Return the path of ours and of Keras' own, over two variables."""
    starts, rows = [START[:14], START[14:].reshape(2, 7)], [(g[:14], g[14:].reshape(2, 7)) for g in grads]
    defaults = {n: p.default for n, p in inspect.signature(getattr(keras.optimizers, name).__init__).parameters.items()}
    options = {
        n: float(np.float32(v)) if n in NUMBERS else v
        for n, v in (defaults | options).items()
        if n in NUMBERS or n in options
    }
    rates = [rate * options.get("learning_rate", 0.05) / 0.05 for rate in RATES]
    return [
        path_of(getattr(library, name)(**options), starts, rows, rates, dtype)
        for library in (surefoot.keras, keras.optimizers)
    ]


@each
def test_float64_is_keras(name, options, float64):
    grads = gradients(1e20, 1e-20, 1e-310)
    if name == "Lion":
        grads[:, [7, 11, 21, 25]] = 1e-3  # the sign of a denormal gradient: XLA and TensorFlow take it for 0 at times
    ours, theirs = paths(name, options, grads, "float64")
    is_rounded = name == "Nadam" and keras.backend.backend() == "tensorflow"
    same(ours, theirs, 1e-6 if is_rounded else 1e-12, nothing=1e-290)


@plain
def test_float32_is_keras(name, options):
    grads = gradients(1e15, 1e-15, 1e-40)  # beyond 1e19 a square overflows
    if name == "Lion":
        grads[:, [7, 11, 21, 25]] = 1e-3
    ours, theirs = paths(name, options, grads, "float32")
    same(ours, theirs, 2e-5 if name in {"Adam", "AdamW", "Nadam"} else 1e-5, nothing=1e-30)


# ---- what Keras does around the step ---------------------------------------------------------------------------------

SOME = [("SGD", {"momentum": 0.9}), ("Nadam", {})]  # one with its rate in the buffer, one with a number in its state
AROUND = [
    {"weight_decay": 0.1},
    {"clipnorm": 0.5},
    {"clipvalue": 0.1},
    {"global_clipnorm": 0.5},
    {"gradient_accumulation_steps": 3},
    {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 4},
    {"loss_scale_factor": 2.0},
    {"learning_rate": keras.optimizers.schedules.CosineDecay(0.1, 15)},
    {"gradient_accumulation_steps": 2, "clipnorm": 0.5, "weight_decay": 0.1, "use_ema": True},
]


@pytest.mark.parametrize(("name", "options"), SOME, ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("around", AROUND, ids="-".join)
def test_what_keras_does_around_the_step_stays(name, options, around):
    random = np.random.default_rng(3)
    starts = [random.normal(size=4), random.normal(size=(3, 2))]
    rows = [(random.normal(size=4), random.normal(size=(3, 2))) for _ in range(20)]
    ours, theirs = (
        path_of(
            getattr(library, name)(**{"learning_rate": 0.05, **options, **around}),
            starts,
            rows,
            is_compiled="gradient_accumulation_steps" in around,  # JAX compiles its conditions one by one otherwise
        )
        for library in (surefoot.keras, keras.optimizers)
    )
    same(ours, theirs, 2e-5)
    assert np.abs(ours[-1] - ours[0]).max() > 1e-2  # it went somewhere


# ---- who is right ----------------------------------------------------------------------------------------------------


def test_the_difference_in_float32_is_rounding_of_keras():
    rows = [(np.array([1.0, -0.3]),)] * 3
    m = v = x = np.zeros(2)
    exact = []
    for t, (g,) in enumerate(rows, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        x = x - 0.5 * np.sqrt(1.0 - 0.999**t) / (1.0 - 0.9**t) * m / (np.sqrt(v) + 1e-7)
        exact.append(x)
    ours = path_of(surefoot.keras.Adam(0.5), [np.zeros(2)], rows)
    keras_own = path_of(keras.optimizers.Adam(0.5), [np.zeros(2)], rows)
    assert np.abs(ours / exact - 1.0).max() < 5e-7
    assert np.abs(keras_own / exact - 1.0).max() > 2e-6
