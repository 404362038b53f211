"""The names, arguments and defaults of the installed optax; and what is refused, by name."""

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax
import surefoot as sf
import surefoot.optax as ours
from surefoot import ArgumentError, ArgumentTypeError, rules

NAMES = ["sgd", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "nadam", "radam", "adamax", "lion", "dog"]
NAMES += ["dowg", "dadapt_adamw", "prodigy", "schedule_free_sgd", "schedule_free_adamw"]
NAMES += ["adabelief", "adan", "ademamix", "lamb"]
DIFFERENT_DEFAULTS = {
    # optax's None means "no scaling" and leaves out the sign too: the update climbs.
    ("adadelta", "learning_rate"): (None, 1.0),
}


def theirs(name):
    return getattr(optax, name, None) or getattr(optax.contrib, name)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_and_defaults_are_optax_s(name):
    expected, found = inspect.signature(theirs(name)).parameters, inspect.signature(getattr(ours, name)).parameters
    assert [(p.name, p.kind) for p in found.values()] == [(p.name, p.kind) for p in expected.values()]
    different = {
        (name, argument): (expected[argument].default, found[argument].default)
        for argument in expected
        if expected[argument].default != found[argument].default
    }
    assert different == {key: value for key, value in DIFFERENT_DEFAULTS.items() if key[0] == name}


def test_adadelta_of_optax_climbs_by_default():
    x, g = jnp.ones(1), jnp.ones(1)
    assert optax.adadelta().update(g, optax.adadelta().init(x), x)[0] > 0.0  # the reason for the difference above
    assert ours.adadelta().update(g, ours.adadelta().init(x), x)[0] < 0.0


@pytest.mark.parametrize("name", NAMES)
def test_every_name_gives_a_transformation_with_the_rate_in_its_state(name):
    transformation = getattr(ours, name)(0.25)
    assert isinstance(transformation, optax.GradientTransformationExtraArgs)
    assert transformation.init({"w": jnp.ones(2)}).learning_rate == 0.25


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "rate", [-1e-3, math.nan, math.inf, np.float32(-1.0), np.array(-1.0), jnp.asarray(math.nan)], ids=repr
)
def test_bad_rate_is_refused_by_the_name_that_was_called(name, rate):
    with pytest.raises(
        ArgumentError, match=rf"`{name}\(learning_rate=.*\)`: learning_rate must be a finite number at least 0"
    ):
        getattr(ours, name)(rate)


@pytest.mark.parametrize("rate", ["0.1", None, True, [0.1], np.ones(2), jnp.ones(2)], ids=repr)
def test_rate_of_a_wrong_type_is_refused(rate):
    with pytest.raises((ArgumentError, ArgumentTypeError), match="learning_rate must be"):
        ours.adam(rate)


REFUSED = [
    ("sgd", {"momentum": -0.1}, "momentum", "at least 0.0 and at most 1.0"),
    ("sgd", {"accumulator_dtype": jnp.bfloat16}, "accumulator_dtype", "must be None. .*optax.sgd"),
    ("adagrad", {"initial_accumulator_value": -0.1}, "initial_accumulator_value", "at least 0.0"),
    ("adagrad", {"initial_accumulator_value": 0.0, "eps": 0.0}, "eps", "above 0"),
    ("adadelta", {"learning_rate": None}, "learning_rate", "climbs"),
    ("adadelta", {"rho": 1.5}, "rho", "at most 1.0"),
    ("adadelta", {"weight_decay": -1.0}, "weight_decay", "at least 0.0"),
    ("rmsprop", {"decay": 1.5}, "decay", "at most 1.0"),
    ("rmsprop", {"initial_scale": -1.0}, "initial_scale", "at least 0.0"),
    ("rmsprop", {"nesterov": True}, "nesterov", "must be False"),
    ("rmsprop", {"bias_correction": True}, "bias_correction", "must be False"),
    ("adam", {"b1": 1.0}, "b1", "below 1.0"),
    ("adam", {"b2": "0.9"}, "b2", "a finite number"),
    ("adam", {"eps": math.nan}, "eps", "a finite number"),
    ("adam", {"eps_root": -1.0}, "eps_root", "at least 0.0"),
    ("adam", {"mu_dtype": "bfloat16"}, "mu_dtype", "must be None. .*optax.adam"),
    ("adam", {"nesterov": 1}, "nesterov", "True or False"),
    ("adamw", {"mu_dtype": jnp.bfloat16}, "mu_dtype", "must be None"),
    ("adamw", {"weight_decay": "0.1"}, "weight_decay", "a finite number"),
    ("nadam", {"mu_dtype": jnp.bfloat16}, "mu_dtype", "must be None"),
    ("radam", {"threshold": 3.0}, "threshold", "at least 4.0"),
    ("adamax", {"b2": -0.5}, "b2", "at least 0.0"),
    ("lion", {"mu_dtype": jnp.bfloat16}, "mu_dtype", "must be None"),
    ("dog", {"init_step": ("learning_rate", 0.1)}, "init_step", "heuristic"),
    ("dog", {"init_step": ("distance", -1.0)}, "init_step", "at least 0.0"),
    ("dowg", {"init_estim_sq_dist": 0.0}, "init_estim_sq_dist", "above 0"),
    ("dowg", {"eps": 0.0}, "eps", "above 0"),
    ("adabelief", {"nesterov": True}, "nesterov", "False"),
    ("adan", {"b3": 1.0}, "b3", "below 1"),
    ("lamb", {"eps_root": 0.1}, "eps_root", "0"),
    ("lamb", {"mask": {}}, "mask", "None"),
    ("lamb", {"weight_decay": math.sqrt}, "weight_decay", "a number"),
    ("ademamix", {"b3": math.sqrt}, "b3", "a number"),
    ("ademamix", {"eps_root": 0.1}, "eps_root", "0"),
    ("ademamix", {"mu_dtype": "bfloat16"}, "mu_dtype", "None"),
    ("schedule_free_sgd", {"state_dtype": "bfloat16"}, "state_dtype", "None"),
    ("schedule_free_adamw", {"b1": 0.0}, "b1", "above 0"),
    ("schedule_free_adamw", {"warmup_steps": -1}, "warmup_steps", "a whole number"),
    ("dadapt_adamw", {"estim_lr0": 0.0}, "estim_lr0", "above 0"),
    ("dadapt_adamw", {"betas": (0.9, 1.0)}, "b2", "below 1.0"),
    ("prodigy", {"estim_lr_coef": -1.0}, "estim_lr_coef", "above 0"),
    ("prodigy", {"beta3": 1.0}, "b3", "below 1.0"),
    ("prodigy", {"safeguard_warmup": 1}, "safeguard_warmup", "True or False"),
]


@pytest.mark.parametrize(("name", "options", "argument", "allowed"), REFUSED, ids=str)
def test_bad_argument_is_refused_at_construction(name, options, argument, allowed):
    with pytest.raises(
        (ArgumentError, ArgumentTypeError), match=rf"{argument}=.*{argument} must be .*{allowed}|{argument} {allowed}"
    ) as caught:
        getattr(ours, name)(**{"learning_rate": 0.1} | options)
    assert argument in str(caught.value)


def test_from_rule_checks_its_arguments():
    with pytest.raises(ArgumentTypeError, match=r"rule='adam'.*Rule"):
        ours.from_rule("adam", 0.1)
    with pytest.raises(ArgumentError, match=r"clip_norm=1.0.*None beside clip_value"):
        ours.from_rule(rules.Adam(), 0.1, clip_value=1.0, clip_norm=1.0)
    with pytest.raises(ArgumentError, match="not known in steps"):
        ours.from_rule(rules.Adam(), sf.cosine_decay())
    with pytest.raises(TypeError):
        ours.from_rule(rules.Adam(), 0.1, 0.01)


@pytest.mark.parametrize("leaf", [jnp.ones(2, jnp.complex64), jnp.ones(2, jnp.int32), 3], ids=repr)
def test_parameters_that_are_no_real_numbers_are_refused(leaf):
    with pytest.raises(ArgumentTypeError, match=r"`adam.init\(params=.*floating"):
        ours.adam(0.1).init({"w": leaf})


@pytest.mark.parametrize(
    "transformation", [ours.adamw(0.1), ours.dog(), ours.adadelta(weight_decay=0.1), ours.lion(0.1)]
)
def test_parameters_are_asked_for_where_they_are_needed(transformation):
    g = {"w": jnp.ones(2)}
    with pytest.raises(ArgumentError, match=r"update\(params=None\)`: params must be the parameters"):
        transformation.update(g, transformation.init(g))


@pytest.mark.parametrize("name", ["sgd", "adagrad", "rmsprop", "nadam", "radam"])
def test_parameters_may_be_left_out_where_they_are_not(name):
    g, transformation = {"w": jnp.arange(3.0)}, getattr(ours, name)(0.1)
    without, _ = jax.jit(transformation.update)(g, transformation.init(g))
    given, _ = jax.jit(transformation.update)(g, transformation.init(g), g)
    assert jnp.array_equal(without["w"], given["w"])
