"""Random arguments, rates, gradients and metrics: our optimizers and our plateau against Keras' own.

How equal. After every step each weight may differ by a share of the largest value that it has had so far. In float64
that is 1e-12, where any other formula shows; but 1e-6 for Nadam on TensorFlow, where Keras takes its 0.96 through float32
(all numbers that are drawn here are float32 numbers for the same reason). In float32 it is 5e-6, a few dozen roundings;
and 2e-5 where Keras computes `1 - beta^t`: at beta_2 = 0.999 and t = 2 one rounding of the power is 3e-5 of what is left,
under the root half of that. test_parity.py shows that ours loses nothing there.

What would make any two roundings differ without bounds is not drawn, for these reasons:

- beta_2 below 0.5: Keras' `v += (g^2 - v) (1 - beta_2)` keeps rounding / beta_2 of a v that was huge (at 0 it is 0 where
  it should be g^2), and the step is divided by that. A beta_2 above 0.999 or beta_1 above 0.99: the power above.
- rho below 0.9 with `centered`: `v - mean^2` cancels down to rho^t of v, below rounding.
- Lion: gradients below 1e-10, which clipping and scaling take to denormals, whose sign XLA and TensorFlow may take for 0.
- Gradients above 1e15 in float32, whose squares overflow; an epsilon of 0, with which a gradient of 0 is 0 / 0.
- Weights below 1e-26 in float32: what comes from denormal gradients.
"""

import contextlib
import io
import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import keras
import surefoot.keras
from surefoot import rules

from .driving import path_of, same
from .fits import driven

BACKEND = keras.backend.backend()
FUZZ = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[*HealthCheck],
    phases=[Phase.generate],  # a seed cannot be shrunk
)

pytestmark = pytest.mark.usefixtures("float64", "quick_compilation")


def numbers(least, most):
    return st.floats(least, most, width=32).map(lambda v: float(np.float32(v)))


def power(least, most):
    """Return numbers of all sizes between two powers of 10."""
    return st.floats(least, most).map(lambda e: float(np.float32(10.0**e)))


BETA_1 = st.just(0.0) | numbers(0.5, 0.9900000095367432)
BETA_2 = numbers(0.5, 0.9990000128746033)
EPSILON = power(-10, -2)
MOMENTUM = st.sampled_from([0.0, 1.0]) | numbers(0.0, 1.0)
ADAM = {"beta_1": BETA_1, "beta_2": BETA_2, "epsilon": EPSILON}
ARGUMENTS = {
    "SGD": {"momentum": MOMENTUM, "nesterov": st.booleans()},
    "Adagrad": {"initial_accumulator_value": st.just(0.0) | power(-8, 1), "epsilon": EPSILON},
    "Adadelta": {"rho": MOMENTUM, "epsilon": EPSILON},
    "RMSprop": {"rho": MOMENTUM, "momentum": MOMENTUM, "epsilon": EPSILON, "centered": st.booleans()},
    "Adam": {**ADAM, "amsgrad": st.booleans()},
    "AdamW": {**ADAM, "amsgrad": st.booleans()},
    "Nadam": ADAM,
    "Adamax": ADAM,
    "Lion": {"beta_1": numbers(0.5, 0.9900000095367432), "beta_2": BETA_2},
}
SCHEDULES = [
    keras.optimizers.schedules.CosineDecay(0.1, 10),
    keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5, staircase=True),
    keras.optimizers.schedules.PiecewiseConstantDecay([3, 6], [0.1, 0.01, 0.001]),
]


@st.composite
def cases(draw, name):
    """Return arguments of an optimizer, a type, rates, two small variables (as one), and their gradients."""
    options = {argument: draw(values) for argument, values in ARGUMENTS[name].items()}
    options["nesterov"] = options.get("nesterov", False) and options["momentum"] > 0.0
    if name != "SGD":
        del options["nesterov"]
    if options.get("centered"):
        options["rho"] = draw(numbers(0.8999999761581421, 1.0))
    options["weight_decay"] = draw(numbers(0.0, 0.5) if name == "AdamW" else st.none() | numbers(0.0, 0.5))
    clip = draw(st.sampled_from([None, None, "clipnorm", "clipvalue", "global_clipnorm"]))
    if clip:
        options[clip] = draw(power(-3, 1))
    if draw(st.booleans()):
        options |= {"use_ema": True, "ema_momentum": draw(numbers(0.0, 1.0))}
        options["ema_overwrite_frequency"] = draw(st.none() | st.integers(1, 5))
    options["loss_scale_factor"] = draw(st.none() | st.sampled_from([0.5, 2.0, 1024.0]))
    every = draw(st.sampled_from([None] * 27 + [2, 3, 4]))  # rare: on JAX it has to be compiled, which takes a second
    if every:
        options["gradient_accumulation_steps"] = every

    steps = draw(st.integers(8, 12))
    rates = None
    options["learning_rate"] = draw(power(-4, 0) | st.sampled_from(SCHEDULES))
    if isinstance(options["learning_rate"], float):
        drops = draw(
            st.lists(st.tuples(st.integers(1, steps - 1), st.sampled_from([0.5, 0.1, 0.001, 0.0])), max_size=2)
        )
        rates = [options["learning_rate"] * math.prod(by for at, by in drops if step >= at) for step in range(steps)]

    exponent = st.floats(-10.0 if name == "Lion" else -20.0, 15.0) | st.sampled_from([0.0, -1.0, -3.0])
    columns = draw(
        st.lists(st.tuples(exponent, exponent, st.sampled_from([0.0, 0.0, 0.5, 1.0])), min_size=6, max_size=6)
    )
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    turn = draw(st.integers(0, steps))  # where the sizes change
    grads = np.array([[10.0 ** (a if step < turn else b) for a, b, _ in columns] for step in range(steps)])
    grads *= random.uniform(0.1, 1.0, grads.shape) * random.choice([-1.0, 1.0], grads.shape)
    grads *= random.uniform(size=grads.shape) >= [zeros for *_, zeros in columns]
    starts = random.normal(size=6) * random.choice([0.0, 1.0], 6)
    return options, draw(st.sampled_from(["float32", "float64"])), rates, starts, grads


def check(name, case):
    options, dtype, rates, starts, grads = case
    paths, averages = [], []
    for library in (surefoot.keras, keras.optimizers):
        optimizer = getattr(library, name)(**options)
        split = [(row[:2], row[2:].reshape(2, 2)) for row in [starts, *grads]]
        is_compiled = "gradient_accumulation_steps" in options and BACKEND == "jax"
        with np.errstate(all="ignore"):
            paths.append(path_of(optimizer, split[0], split[1:], rates, dtype, is_compiled=is_compiled))
        if options.get("use_ema") and not is_compiled:  # JAX's compiled step leaves the optimizer's variables alone
            found = [keras.ops.convert_to_numpy(v).ravel() for v in optimizer._model_variables_moving_average]
            averages.append(np.concatenate(found).astype("float64"))
    if dtype == "float32":
        share, nothing = 2e-5 if name in {"Adam", "AdamW", "Nadam", "Adamax"} else 5e-6, 1e-26
    else:
        share, nothing = 1e-6 if name == "Nadam" and BACKEND == "tensorflow" else 1e-12, 0.0
    same(*paths, share, nothing)
    if averages:  # each lies between the weights of before
        same(*(np.vstack([*path, average]) for path, average in zip(paths, averages, strict=True)), share, nothing)


each = pytest.mark.parametrize("name", ARGUMENTS)


@each
@settings(
    FUZZ, max_examples=12 if BACKEND == "torch" else 5
)  # an eager step of JAX and TensorFlow takes 4 times as long
@given(data=st.data())
def test_any_optimizer_is_keras(name, data):
    check(name, data.draw(cases(name)))


@pytest.mark.slow
@each
@settings(FUZZ, max_examples=150)
@given(data=st.data())
def test_any_optimizer_is_keras_in_many_cases(name, data):
    check(name, data.draw(cases(name)))


MUTANTS = {
    "Adam": lambda o: rules.Adam(b1=o.beta_1, b2=o.beta_2, eps=o.epsilon, amsgrad=o.amsgrad),  # torch's epsilon
    "RMSprop": lambda o: rules.RMSprop(
        rho=o.rho, eps=o.epsilon, momentum=o.momentum, centered=o.centered, rate_in_buffer=True
    ),  # epsilon outside of the root
    "SGD": lambda o: rules.SGD(momentum=o.momentum, nesterov=o.nesterov),  # the rate outside of the buffer
    "Adagrad": lambda o: rules.Adagrad(start=o.initial_accumulator_value, eps=o.epsilon),  # epsilon outside of the root
    "Adamax": lambda o: rules.Adamax(b1=o.beta_1, b2=o.beta_2, eps=o.epsilon),  # torch's epsilon
    "Nadam": lambda o: rules.NAdam(b1=o.beta_1, b2=o.beta_2, eps=o.epsilon),  # torch's growth of the momentum
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name, monkeypatch):
    """Not a fact about the library but about the test above, and its very cases."""
    monkeypatch.setattr(getattr(surefoot.keras, name), "rule", property(MUTANTS[name]))
    with pytest.raises(AssertionError, match="first at"):
        test_any_optimizer_is_keras(name)


# ---- the plateau -----------------------------------------------------------------------------------------------------


@st.composite
def plateaus(draw):
    """Return the arguments of a plateau, the rate that it begins with, and what it reads.

    Not drawn, as ours does not follow Keras there: a first value that is not finite, which is Keras' best for ever, and
    an infinity on the good side, which is never a gain for ours. Values and margins are whole 64ths, or a margin far
    below that: Keras compares in float32, where a tie of other numbers is a matter of rounding. `min_lr` never is a
    rate times a power of the factor, but for rounding.
    """
    options = {
        "monitor": draw(st.sampled_from(["loss", "val_loss"])),
        "factor": draw(st.floats(0.05, 0.97) | st.sampled_from([0.1, 0.5])),
        "patience": draw(st.integers(0, 5)),
        "verbose": draw(st.integers(0, 1)),
        "mode": draw(st.sampled_from(["min", "max", "auto"])),
        "min_delta": draw(st.sampled_from([0.0, 1e-4]) | st.integers(0, 128).map(lambda n: n / 64)),
        "cooldown": draw(st.integers(0, 5)),
        "min_lr": draw(st.sampled_from([0.0, 0.0, 1e-6, 0.0123, 0.321, 2.0])),
    }
    value = st.integers(-192, 192).map(lambda n: n / 64)
    odd = st.sampled_from([math.nan, -math.inf if options["mode"] == "max" else math.inf, None])
    few = st.integers(-2, 2).map(lambda n: n / 64)  # ties and plateaus
    values = draw(st.lists(value | few | few | odd, max_size=20))
    return options, draw(st.sampled_from([1.0, 0.1, 0.37])), [draw(value), *values]


def check_plateau(case):
    options, rate, values = case
    found = []
    for kinds in (surefoot.keras, keras.callbacks):
        plateau, text = kinds.ReduceLROnPlateau(**options), io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(text):
            warnings.simplefilter(
                "ignore", UserWarning
            )  # of an epoch without the metric, and of a floor above the rate
            rates = driven(plateau, values, rate, options["monitor"])
        said = [line.partition(" to ")[0] for line in text.getvalue().splitlines()]
        found.append(
            (rates, said, plateau.best, plateau.wait)
        )  # the cooldown counter of ours is one less: see its text
    ours, theirs = found
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-6)  # twenty products in float32
    assert ours[1:] == theirs[1:]


@settings(FUZZ, max_examples=100)
@given(plateaus())
def test_any_plateau_is_keras(case):
    check_plateau(case)


@pytest.mark.slow
@settings(FUZZ, max_examples=2000)
@given(plateaus())
def test_any_plateau_is_keras_in_many_cases(case):
    check_plateau(case)
