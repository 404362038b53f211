"""The compiled model in which the runs of a job are trained, and how it is borrowed and given back."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import keras
from surefoot._checks import refuse
from surefoot.keras._data import as_numpy
from surefoot.keras._random import borrowed
from surefoot.keras._trainer import State, as_tensors, put, trainer_of, values_of

tree: Any = keras.tree
_WHERE = "KerasJob"


class Bench:
    """A compiled model with a trainer around it.

    Args:
        model: a compiled model. If it is `given`, it is the user's: it is compiled once more, with an optimizer and
            metrics of our own, that are exchanged for the user's only while it is lent.
        batch: a batch of the training data, from which the model learns its shapes.
        given: whether the model must be as it was afterwards.
        own_schedule: whether the job brings a schedule, so that one inside the optimizer may be replaced.
        instead: returns another optimizer in place of the model's.
    """

    def __init__(
        self,
        model: Any,
        batch: Any,
        *,
        given: bool,
        own_schedule: bool,
        instead: Callable[[Any], Any] | None = None,
    ) -> None:
        check_compiled(model, own_schedule=own_schedule)
        self.model, self._given = model, given
        self._is_lent = False
        self._mine: dict[str, Any] = {}
        with borrowed():
            self._noise = keras.random.SeedGenerator(0)  # Keras' global generator, while runs are trained
        if given:
            self._mine = _compiled_anew(model, instead or copy_of)
        elif instead is not None or not isinstance(model.optimizer.learning_rate, keras.Variable):
            vars(model).update(_compiled_anew(model, instead or copy_of))
        with self.lent():
            model._symbolic_build(data_batch=as_tensors(batch))  # noqa: SLF001 - the only way to build metrics and loss
            if not model.trainable_variables:
                raise refuse(_WHERE, "model", model.name, "a model with at least one trainable weight")
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
            self._trainer = trainer_of(model, [self._noise.state])
            self.optimizer = model.optimizer
            self.initial = self.state()
            self.train, self.test = self._trainer.train, self._trainer.test

    @contextmanager
    def lent(self) -> Generator[None]:
        """Let the body train the model; afterwards a given model and the global generators are as they were."""
        if self._is_lent:
            yield
            return
        with borrowed(self._noise):
            self._is_lent = True
            try:
                if self._given:
                    with self._exchanged():
                        yield
                else:
                    yield
            finally:
                self._is_lent = False

    def state(self) -> State:
        """Return the present values of all variables of a run."""
        return values_of(self._trainer.variables)

    def write(self, state: State, model: Any) -> None:
        """Write the weights and the optimizer's state of a run into a model of the same make, but not its rate."""
        weights = [*model.trainable_variables, *model.non_trainable_variables]
        slots = _all_but_the_rate(model.optimizer)
        mine = [*self.model.trainable_variables, *self.model.non_trainable_variables]
        of = {id(v): value for v, value in zip(self._trainer.variables, state, strict=True)}
        put_copies(weights, [of[id(v)] for v in mine])
        put_copies(slots, [of[id(v)] for v in _all_but_the_rate(self.optimizer)])

    @property
    def variables(self) -> list[Any]:
        """The variables of a run, in the order of its state."""
        return self._trainer.variables

    @contextmanager
    def _exchanged(self) -> Generator[None]:
        """Exchange what `compile` has set, and put attributes, values and gradients back afterwards."""
        attributes: dict[str, Any] = vars(self.model)
        theirs = dict(attributes)
        variables = [
            *self.model.trainable_variables,
            *self.model.non_trainable_variables,
            *self.model.metrics_variables,
        ]
        values = values_of(variables)
        is_torch = keras.backend.backend() == "torch"
        grads = [v.value.grad for v in variables] if is_torch else []
        attributes.update(self._mine)
        try:
            yield
        finally:
            for name in attributes.keys() - theirs.keys():
                del attributes[name]
            attributes.update(theirs)
            put(variables, values)
            for variable, grad in zip(variables, grads, strict=False):
                variable.value.grad = grad
            if hasattr(self, "_trainer"):
                self._trainer.forget()


def put_copies(variables: list[Any], state: State) -> None:
    """Write copies of values into variables: `fit` on JAX gives away the memory of what it finds in them."""
    put(variables, [value.copy() if keras.backend.backend() == "jax" else value for value in state])


def check_compiled(model: Any, *, own_schedule: bool) -> None:
    """Refuse a model that cannot be trained, or whose rate is not the search's to set."""
    if not model.compiled:
        cure = "Call model.compile(optimizer=..., loss=...) first."
        raise refuse(_WHERE, "model", model.name, "a compiled model", cure)
    optimizer = model.optimizer
    if optimizer is None:
        raise refuse(_WHERE, "model", model.name, "a model compiled with an optimizer", "For example optimizer='adam'.")
    if isinstance(optimizer, getattr(keras.optimizers, "MultiOptimizer", ())):
        cure = "Compile the model with one optimizer for the search."
        raise refuse(_WHERE, "model", optimizer.name, "compiled with an optimizer that has one learning rate", cure)
    if not isinstance(optimizer.learning_rate, keras.Variable) and not own_schedule:
        cure = "Compile it with a number as learning rate, and pass the shape as `schedule`, such as sf.cosine_decay()."
        allowed = "compiled with a constant learning rate: the search brings the schedule"
        raise refuse(_WHERE, "model", optimizer.name, allowed, cure)


def settings_of(optimizer: Any) -> dict[str, Any]:
    """Return what `get_config` says; Keras 3.15 reads the rate in a way that NumPy 2 warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return dict(optimizer.get_config())


def rate_of(optimizer: Any) -> float:
    """Return the present rate."""
    rate = optimizer.learning_rate
    return float(as_numpy(rate.value if isinstance(rate, keras.Variable) else rate))


def copy_of(optimizer: Any) -> Any:
    """Return a new optimizer with the same settings, with a plain number as its rate."""
    config = settings_of(optimizer)
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:  # a LossScaleOptimizer
        return type(optimizer)(copy_of(inner), **{k: v for k, v in config.items() if k != "inner_optimizer"})
    config["learning_rate"] = rate_of(optimizer)  # of a schedule, that at its present step
    made = type(optimizer).from_config(config)
    plain = (bool, int, float, str, type(None))
    for name, value in vars(optimizer).items():
        is_setting = not name.startswith("_") and name != "built" and isinstance(value, plain)
        if is_setting and getattr(made, name, None) != value:
            allowed = f"an optimizer whose get_config() tells all its settings; a copy has another {name!r}"
            raise refuse(
                _WHERE, "model", optimizer.name, allowed, "Or give a function that returns the compiled model."
            )
    return made


def _compiled_anew(model: Any, made_from: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the attributes that compiling gives the model with a new optimizer and new metrics, but do not keep them."""
    settings: dict[str, Any] = dict(model._compile_config.config)  # noqa: SLF001 - what compile() was called with
    settings["optimizer"] = made_from(model.optimizer)
    for name in ("metrics", "weighted_metrics"):
        settings[name] = tree.map_structure(_copy_of_metric, settings.get(name))
    before, after = dict(vars(model)), dict[str, Any]()
    try:
        with borrowed():
            keras.Model.compile(model, **settings)  # not that of a subclass, which may want other arguments
        after = dict(vars(model))
    finally:
        for name in vars(model).keys() - before.keys():
            del vars(model)[name]
        vars(model).update(before)
    return {name: value for name, value in after.items() if name not in before or before[name] is not value}


def _copy_of_metric(metric: Any) -> Any:
    if not isinstance(metric, keras.metrics.Metric):
        return metric
    try:
        return type(metric).from_config(metric.get_config())
    except Exception as error:
        allowed = f"compiled with metrics whose get_config() tells all their arguments ({error})"
        cure = "Or give a function that returns the compiled model."
        raise refuse(_WHERE, "model", metric.name, allowed, cure) from error


def _all_but_the_rate(optimizer: Any) -> list[Any]:
    rate = optimizer.learning_rate
    return [v for v in optimizer.variables if v is not rate]
