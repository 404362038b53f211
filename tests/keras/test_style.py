"""style="torch": the path of torch's own class, with its defaults, whatever backend Keras has."""

import inspect

import numpy as np
import pytest

import keras
import surefoot.keras
from surefoot._errors import ArgumentError

from .driving import path_of, same

torch = pytest.importorskip("torch")

RANDOM = np.random.default_rng(11)
STEPS = 60
STARTS = [RANDOM.normal(size=5), RANDOM.normal(size=(2, 3))]
SIZES = np.array([1.0, 1e-3, 10.0, 1e-7, 0.0])
GRADS = [(RANDOM.normal(size=5) * SIZES, RANDOM.normal(size=(2, 3)) + 0.5) for _ in range(STEPS)]
DROPS = [1.0 if t < 20 else 0.125 if t < 40 else 0.5 for t in range(STEPS)]
TORCH = {"Nadam": "NAdam"}  # where the names differ
WORDS = {"rho": "alpha", "epsilon": "eps", "initial_accumulator_value": "initial_accumulator_value"}
OPTIONS = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adagrad", {}),
    ("Adagrad", {"initial_accumulator_value": 0.25, "epsilon": 1e-3, "weight_decay": 0.1, "decay": 0.125}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.5, "epsilon": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"rho": 0.5, "momentum": 0.9, "centered": True, "epsilon": 1e-2, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"beta_1": 0.5, "beta_2": 0.75, "epsilon": 1e-2, "amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.5, "amsgrad": True}),
    ("Nadam", {}),
    ("Nadam", {"beta_1": 0.5, "epsilon": 1e-2, "weight_decay": 0.1}),
    ("RAdam", {}),
    ("RAdam", {"beta_2": 0.75, "epsilon": 1e-2, "weight_decay": 0.1}),
    ("Adamax", {}),
    ("Adamax", {"beta_2": 0.75, "epsilon": 1e-2, "weight_decay": 0.1}),
]
NAMES = sorted({name for name, _ in OPTIONS})


def in_words_of_torch(name, options):
    words = {}
    for key, value in options.items():
        if key in {"beta_1", "beta_2"}:
            words["betas"] = (options.get("beta_1", 0.9), options.get("beta_2", 0.999))
        elif key == "rho":
            words["alpha" if name == "RMSprop" else "rho"] = value
        else:
            words[{"epsilon": "eps", "decay": "lr_decay"}.get(key, key)] = value
    return words


def torch_path(name, options, rates, dtype):
    parameters = [torch.nn.Parameter(torch.tensor(a, dtype=dtype)) for a in STARTS]
    optimizer = getattr(torch.optim, TORCH.get(name, name))(parameters, **in_words_of_torch(name, options))
    rows = []
    for grads, rate in zip(GRADS, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        for p, g in zip(parameters, grads, strict=True):
            p.grad = torch.tensor(g, dtype=dtype)
        optimizer.step()
        rows.append(np.concatenate([p.detach().double().numpy().ravel() for p in parameters]))
    return np.array(rows)


@pytest.mark.parametrize(
    ("name", "options", "dtype"),
    [(*o, "float64") for o in OPTIONS] + [(*o, "float32") for o in OPTIONS if not o[1]],
    ids=lambda v: v if isinstance(v, str) else "-".join(v),
)
def test_the_path_is_that_of_torch(name, options, dtype, float64):
    rates = [0.0625 * drop for drop in DROPS]  # Keras keeps a rate in float32
    ours = path_of(getattr(surefoot.keras, name)(style="torch", **options), STARTS, GRADS, rates, dtype)
    theirs = torch_path(name, options, rates, getattr(torch, dtype))
    is_rounded = dtype == "float32" or name == "Nadam"  # whose product of momenta torch keeps in float32
    same(ours, theirs, 2e-5 if is_rounded else 1e-12, nothing=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_torch(name):
    known = {n: p.default for n, p in inspect.signature(getattr(torch.optim, TORCH.get(name, name))).parameters.items()}
    config = getattr(surefoot.keras, name)(style="torch").get_config()
    assert np.float32(known["lr"]) == np.float32(config["learning_rate"])
    for key in ("epsilon", "rho", "initial_accumulator_value", "weight_decay", "momentum", "beta_1"):
        if key in config:
            (word, value) = next(iter(in_words_of_torch(name, {key: config[key]}).items()))
            assert (value or 0.0) == known[word], key


def test_an_option_that_is_given_stays():
    optimizer = surefoot.keras.Adagrad(0.5, epsilon=1e-3, style="torch")
    assert (optimizer.epsilon, optimizer.initial_accumulator_value) == (1e-3, 0.0)
    assert surefoot.keras.Adagrad(epsilon=None, style="torch").epsilon == 1e-10
    assert surefoot.keras.Adagrad(style="keras").initial_accumulator_value == 0.1


@pytest.mark.parametrize("name", NAMES)
def test_the_style_is_kept(name):
    optimizer = getattr(surefoot.keras, name)(style="torch", weight_decay=0.25)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.style == "torch"
    assert again.whole_rule == optimizer.whole_rule
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize("name", ["Adam", "RAdam"])
def test_variables_can_be_spared_from_the_penalty(name):
    def path(**options):
        optimizer = getattr(surefoot.keras, name)(0.1, style="torch", weight_decay=0.5, **options)
        optimizer.exclude_from_weight_decay(var_names=["w1"])
        return path_of(optimizer, STARTS, GRADS)

    plain = path_of(getattr(surefoot.keras, name)(0.1, style="torch"), STARTS, GRADS)
    penalized = path_of(getattr(surefoot.keras, name)(0.1, style="torch", weight_decay=0.5), STARTS, GRADS)
    ours = path()
    same(ours[:, :5], penalized[:, :5], 1e-6)
    same(ours[:, 5:], plain[:, 5:], 1e-6)
    assert np.abs(penalized - plain).max() > 1e-3


def test_what_torch_has_not_has_no_style_of_torch():
    with pytest.raises(ArgumentError, match=r"`Lion\(style='torch'\)`: style must be 'keras'. torch has no Lion"):
        surefoot.keras.Lion(style="torch")
    with pytest.raises(ArgumentError, match="style must be left out"):
        surefoot.keras.DoG(style="torch")
    with pytest.raises(
        ArgumentError, match=r"`Adam\(style='pytorch'\)`: style must be one of keras, torch. Did you mean"
    ):
        surefoot.keras.Adam(style="pytorch")
