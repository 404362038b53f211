"""What holds for every rule: the same numbers on every kind of array, and a refusal of bad hyper-parameters."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

from surefoot import ArgumentError, ArgumentTypeError, rules
from surefoot.rules import (
    SGD,
    AdaBelief,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    Adan,
    AdEMAMix,
    Cautious,
    DAdaptAdam,
    DAdaptSGD,
    DoG,
    DoWG,
    Lion,
    NAdam,
    Prodigy,
    RAdam,
    RMSprop,
)

from .examples import RULES, SoftSign

every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)

GRADIENTS = np.random.default_rng(3).normal(size=20)


def run(rule, make, make_t=int):
    """Return 20 values of a model that has one parameter."""
    x = make(0.7)
    slots, path = rule.init(x), []
    for t, g in enumerate(GRADIENTS, 1):
        dx, slots = rule.step(x, make(float(g)), make_t(t), 0.01, **slots)
        x = x + dx
        path.append(float(x[0] if hasattr(x, "shape") else x))
    return np.array(path)


@every_rule
def test_python_numpy_torch_and_jax_give_the_same_numbers(rule):
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    expected = run(rule, float)
    assert len(set(expected)) > 5  # it moves
    np.testing.assert_allclose(run(rule, lambda v: np.array([v])), expected, rtol=1e-13)
    np.testing.assert_allclose(run(rule, lambda v: torch.tensor([v], dtype=torch.float64)), expected, rtol=1e-13)
    with jax.enable_x64(True):
        np.testing.assert_allclose(run(rule, lambda v: jax.numpy.array([v])), expected, rtol=1e-13)


@every_rule
def test_step_count_may_be_any_kind_of_number(rule):
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    expected = run(rule, float)
    np.testing.assert_array_equal(run(rule, float, float), expected)
    np.testing.assert_allclose(run(rule, lambda v: np.array([v]), np.float64), expected, rtol=1e-13)

    def count(t):
        return torch.tensor(t, dtype=torch.float64)

    np.testing.assert_allclose(run(rule, lambda v: torch.tensor([v], dtype=torch.float64), count), expected, rtol=1e-13)
    with jax.enable_x64(True):
        np.testing.assert_allclose(run(rule, lambda v: jax.numpy.array([v]), jax.numpy.float64), expected, rtol=1e-13)


@every_rule
def test_float32_stays_float32(rule):
    torch = pytest.importorskip("torch")
    for make in (lambda v: np.array([v], "float32"), lambda v: torch.tensor([v], dtype=torch.float32)):
        x = make(0.7)
        slots = rule.init(x)
        for t in (1, 2):
            dx, slots = rule.step(x, make(0.1), t, 0.01, **slots)
            assert dx.dtype == x.dtype
            assert all(getattr(s, "dtype", x.dtype) == x.dtype for s in slots.values())


@every_rule
def test_step_returns_the_slots_of_init_and_changes_nothing_in_place(rule):
    x, g = np.array([0.7, -0.2]), np.array([1.0, -2.0])
    slots = rule.init(x)
    before = {name: np.copy(value) for name, value in slots.items()}
    _, new = rule.step(x, g, 1, 0.01, **slots)
    assert list(new) == list(slots)
    assert set(rule.scalar_slots) <= set(slots)
    assert all(np.array_equal(before[name], slots[name]) for name in slots)
    assert x.tolist() == [0.7, -0.2]
    assert g.tolist() == [1.0, -2.0]
    x += 1.0  # as drivers do
    assert all(np.array_equal(before[name], slots[name]) for name in slots)


@every_rule
def test_rule_is_a_value(rule):
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert eval(repr(rule), {**vars(rules), "SoftSign": SoftSign}) == rule
    assert hash(rule) == hash(pickle.loads(pickle.dumps(rule)))


def test_python_numbers_answer_nan_as_arrays_do():
    for rule in (RMSprop(), Adam(amsgrad=True), Adamax(), Lion(), DoG()):
        dx, _ = rule.step(1.0, math.nan, 1, 0.1, **rule.init(1.0))
        assert math.isnan(dx), rule


@pytest.mark.parametrize(
    ("rule", "argument", "value", "allowed"),
    [
        (SGD, "momentum", -0.1, "at least 0.0 and at most 1.0"),
        (SGD, "dampening", 1.1, "at least 0.0 and at most 1.0"),
        (Adagrad, "lr_decay", -1, "at least 0.0"),
        (Adagrad, "start", math.inf, "at least 0.0"),
        (Adadelta, "rho", 1.0000001, "at least 0.0 and at most 1.0"),
        (RMSprop, "momentum", math.nan, "at least 0.0 and at most 1.0"),
        (RMSprop, "eps", -1e-8, "at least 0.0"),
        (Adam, "b1", 1.0, "at least 0.0 and below 1.0"),
        (Adam, "b2", -0.5, "at least 0.0 and below 1.0"),
        (Adam, "eps", math.nan, "at least 0.0"),
        (NAdam, "momentum_decay", -1.0, "at least 0.0"),
        (RAdam, "b2", 1, "at least 0.0 and below 1.0"),
        (RAdam, "threshold", 3.9, "at least 4.0"),
        (Adamax, "b1", 2.0, "at least 0.0 and below 1.0"),
        (Lion, "b2", 1.5, "at least 0.0 and below 1.0"),
        (DoG, "start", -1.0, "at least 0.0"),
        (DoWG, "start", 0.0, "above 0.0"),
        (DAdaptSGD, "momentum", 1.0, "at least 0.0 and below 1.0"),
        (DAdaptAdam, "growth", 0.9, "at least 1.0"),
        (Prodigy, "b3", 1.0, "at least 0.0 and below 1.0"),
        (Prodigy, "d0", 0.0, "above 0.0"),
        (Prodigy, "d_coef", -1.0, "above 0.0"),
        (AdaBelief, "eps_root", -1.0, "at least 0.0"),
        (Adan, "b3", 1.0, "at least 0.0 and below 1.0"),
        (AdEMAMix, "alpha", -1.0, "at least 0.0"),
        (AdEMAMix, "b3", 1.0, "at least 0.0 and below 1.0"),
    ],
)
def test_bad_number_is_refused_by_name_value_and_what_is_allowed(rule, argument, value, allowed):
    with pytest.raises(ArgumentError) as caught:
        rule(**{argument: value})
    assert f"`{rule.__name__}({argument}={value!r})`: {argument} must be a finite number {allowed}" in str(caught.value)


def test_bad_type_is_refused():
    with pytest.raises(ArgumentTypeError, match=r"`Adam\(b1='0.9'\)`: b1 must be a finite number"):
        Adam(b1="0.9")
    with pytest.raises(ArgumentTypeError, match=r"`Adam\(amsgrad='no'\)`: amsgrad must be True or False"):
        Adam(amsgrad="no")


def test_what_a_wrapper_or_a_warm_up_cannot_do_is_refused():
    with pytest.raises(ArgumentTypeError, match=r"`Cautious\(rule='adam'\)`: rule must be a surefoot.rules.Rule"):
        Cautious(rule="adam")
    with pytest.raises(ArgumentError, match=r"`Cautious\(floor=0.0\)`: floor must be above 0"):
        Cautious(rule=Adam(), floor=0.0)
    with pytest.raises(ArgumentError, match=r"`AdEMAMix\(b3_warmup=10\)`: b3_warmup must be 0 where b1 or b3 is 0"):
        AdEMAMix(b1=0.0, b3_warmup=10)


def test_import_loads_neither_numpy_nor_a_framework():
    code = (
        "import sys, surefoot.rules; sys.exit(','.join({'numpy', 'torch', 'jax', 'keras', 'optax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
