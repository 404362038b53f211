"""Arguments are Keras' own, and what is wrong is refused when the optimizer is made."""

import inspect
import math

import numpy as np
import pytest

import keras
import surefoot.keras
from surefoot import rules
from surefoot._errors import ArgumentError, ArgumentTypeError

NAMES = sorted(kind.__name__ for kind in surefoot.keras.optimizers.OURS.values())
KERAS_HAS = [name for name in NAMES if hasattr(keras.optimizers, name)]
OURS = ["lr", "decay", "style", "multipliers"]


def signature(kind):
    return list(inspect.signature(kind).parameters.values())


@pytest.mark.parametrize("name", KERAS_HAS)
def test_arguments_and_defaults_are_those_of_keras(name):
    ours, theirs = getattr(surefoot.keras, name), getattr(keras.optimizers, name)
    assert "learning_rate" in [p.name for p in signature(theirs)]
    assert [p for p in signature(ours) if p.name not in OURS] == signature(theirs)
    assert [(p.name, p.kind) for p in signature(ours) if p.name in OURS] == [
        (name, inspect.Parameter.KEYWORD_ONLY) for name in OURS
    ]


def test_keras_has_nine_of_them():
    free = ["AdamWScheduleFree", "SGDScheduleFree", "AdaBelief", "Adan", "AdEMAMix"]
    found = sorted([*free, "DAdaptAdam", "DAdaptSGD", "DoG", "DoWG", "Prodigy", "RAdam", "RuleOptimizer"])
    assert sorted(set(NAMES) - set(KERAS_HAS)) == found


def test_arguments_can_be_given_by_position():
    optimizer = surefoot.keras.Adam(0.1, 0.8, 0.99, 1e-3, True, 0.01)
    assert optimizer.rule == rules.Adam(b1=0.8, b2=0.99, eps=1e-3, amsgrad=True, eps_hat=True)
    assert optimizer.weight_decay == 0.01


def test_numbers_of_any_kind_are_taken():
    """Keras refuses a whole number as rate or momentum, and a NumPy one as rate."""
    assert surefoot.keras.SGD(1, momentum=0).get_config()["momentum"] == 0.0
    assert float(keras.ops.convert_to_numpy(surefoot.keras.Adam(np.float32(0.5)).learning_rate)) == 0.5
    assert float(keras.ops.convert_to_numpy(surefoot.keras.RAdam(np.int64(1)).learning_rate)) == 1.0


WRONG = [
    ("Adam", {"learning_rate": -0.1}, "learning_rate", ArgumentError),
    ("Adam", {"learning_rate": math.nan}, "learning_rate", ArgumentError),
    ("Adam", {"learning_rate": math.inf}, "learning_rate", ArgumentError),
    ("Adam", {"learning_rate": "fast"}, "learning_rate", ArgumentTypeError),
    ("Adam", {"learning_rate": True}, "learning_rate", ArgumentTypeError),
    ("Adam", {"learning_rate": None}, "learning_rate", ArgumentTypeError),
    ("Adam", {"beta_1": 1.0}, "beta_1", ArgumentError),
    ("Adam", {"beta_2": -0.1}, "beta_2", ArgumentError),
    ("Adam", {"beta_2": "0.9"}, "beta_2", ArgumentTypeError),
    ("Adam", {"epsilon": -1e-7}, "epsilon", ArgumentError),
    ("Adam", {"epsilon": "small"}, "epsilon", ArgumentTypeError),
    ("Adam", {"amsgrad": "yes"}, "amsgrad", ArgumentTypeError),
    ("AdamW", {"weight_decay": -1.0}, "weight_decay", ArgumentError),
    ("SGD", {"momentum": 1.5}, "momentum", ArgumentError),
    ("SGD", {"nesterov": 1}, "nesterov", ArgumentTypeError),
    ("SGD", {"clipnorm": -1.0}, "clipnorm", ArgumentError),
    ("SGD", {"use_ema": True, "ema_momentum": 1.5}, "ema_momentum", ArgumentError),
    ("SGD", {"loss_scale_factor": 0.0}, "loss_scale_factor", ArgumentError),
    ("SGD", {"gradient_accumulation_steps": 2.5}, "gradient_accumulation_steps", ArgumentTypeError),
    ("SGD", {"gradient_accumulation_steps": 0}, "gradient_accumulation_steps", ArgumentError),
    ("SGD", {"use_ema": True, "ema_overwrite_frequency": 0}, "ema_overwrite_frequency", ArgumentError),
    ("SGD", {"name": 3}, "name", ArgumentTypeError),
    ("SGD", {"decay": "fast"}, "decay", ArgumentTypeError),
    ("SGD", {"style": None}, "style", ArgumentError),
    ("RMSprop", {"rho": 2.0}, "rho", ArgumentError),
    ("Adagrad", {"initial_accumulator_value": -0.1}, "initial_accumulator_value", ArgumentError),
    ("Lion", {"beta_1": 0.0}, "beta_1", ArgumentError),
    ("Lion", {"beta_1": 1.0}, "beta_1", ArgumentError),  # Keras takes it: the step would not see its gradient
    ("RAdam", {"beta_1": 1.0}, "beta_1", ArgumentError),
    ("RAdam", {"learning_rate": math.nan}, "learning_rate", ArgumentError),
    ("DoG", {"start": -1.0}, "start", ArgumentError),
    ("DoWG", {"start": 0.0}, "start", ArgumentError),
    ("DAdaptSGD", {"momentum": 1.0}, "momentum", ArgumentError),
    ("DAdaptAdam", {"growth_rate": 0.5}, "growth_rate", ArgumentError),
    ("Prodigy", {"beta_3": 1.0}, "beta_3", ArgumentError),
    ("AdaBelief", {"beta_2": 1.0}, "beta_2", ArgumentError),
    ("Adan", {"beta_3": 1.0}, "beta_3", ArgumentError),
    ("Adan", {"beta_3": None}, "beta_3", ArgumentTypeError),
    ("AdEMAMix", {"alpha": -1.0}, "alpha", ArgumentError),
    ("AdEMAMix", {"alpha_warmup": 1.5}, "alpha_warmup", ArgumentTypeError),
    ("Prodigy", {"d0": 0.0}, "d0", ArgumentError),
    ("Prodigy", {"d_coef": "2"}, "d_coef", ArgumentTypeError),
    ("Prodigy", {"safeguard_warmup": 1}, "safeguard_warmup", ArgumentTypeError),
    ("DoG", {"is_start_absolute": 1}, "is_start_absolute", ArgumentTypeError),
    ("RuleOptimizer", {"rule": "adam"}, "rule", ArgumentTypeError),
    ("RuleOptimizer", {"rule": rules.Adam(), "clipvalue": math.nan}, "clipvalue", ArgumentError),
]


@pytest.mark.parametrize(("name", "options", "argument", "error"), WRONG, ids=lambda v: repr(v)[:40])
def test_a_wrong_value_is_refused_by_name(name, options, argument, error):
    with pytest.raises(error, match=rf"`{name}\({argument}=.*\)`: {argument} must be "):
        getattr(surefoot.keras, name)(**options)


@pytest.mark.parametrize("name", ["Adam", "RAdam", "RuleOptimizer"])
def test_an_unknown_name_is_refused_and_the_nearest_offered(name):
    options = {"rule": rules.Adam()} if name == "RuleOptimizer" else {}
    with pytest.raises(ArgumentError, match="Did you mean 'weight_decay'"):
        getattr(surefoot.keras, name)(weigth_decay=0.1, **options)
    with pytest.raises(ArgumentError, match="given once"):
        surefoot.keras.Adam(0.1, learning_rate=0.1)


def test_what_keras_itself_refuses_stays_refused():
    with pytest.raises(ValueError, match="Only one of"):
        surefoot.keras.Adam(clipnorm=1.0, clipvalue=1.0)
    with pytest.raises(ValueError, match="gradient_accumulation_steps"):
        surefoot.keras.Adam(gradient_accumulation_steps=1)
