"""One compiled model trains every run of a job: the values of all its variables are put in, and taken out again.

A *state* is the list of those values in the backend's own form. It is never changed once it is made, so a run is forked
by sharing it. The training step is compiled once, however many runs there are.
"""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

import keras

ops: Any = keras.ops
tree: Any = keras.tree

State = Sequence[Any]
Feed = Iterable[tuple[float, Any]]  # the learning rate and the batch of each step


class JaxTrainer:
    """On JAX, a step is a function of the state, so the model's own variables are not touched at all."""

    def __init__(self, model: Any, extra: Sequence[Any]) -> None:
        import jax  # noqa: PLC0415 - only where it is the backend

        self._model, self._jax = model, jax
        self.parts = (model.trainable_variables, model.non_trainable_variables, list(extra), model.optimizer.variables)
        self.variables = [v for part in self.parts for v in part]
        self._rate = next(i for i, v in enumerate(self.parts[-1]) if v is model.optimizer.learning_rate)
        model.reset_metrics()
        self._blank = values_of(model.metrics_variables)  # metrics of one batch
        # Functions of our own: JAX takes equal methods for the same program, and the model may be compiled again.

        def train(state: Any, batch: Any) -> Any:
            return model.train_step(state, batch)

        def test(state: Any, batch: Any) -> Any:
            return model.test_step(state, batch)

        is_compiled = model.jit_compile and not model.run_eagerly
        self._train_step, self._test_step = (jax.jit(train), jax.jit(test)) if is_compiled else (train, test)

    def train(self, state: State, feed: Feed) -> tuple[State, list[float]]:
        """Take one step for each pair of the feed; return the new state and the losses, if the model tells them."""
        trainable, others, extra, optimizer = self._split(state)
        losses: list[Any] = []
        for rate, batch in feed:
            optimizer = list(optimizer)
            optimizer[self._rate] = np.asarray(rate, optimizer[self._rate].dtype)
            before = (trainable, others, optimizer, self._blank)
            logs, (trainable, others, optimizer, _) = self._train_step(before, batch)
            losses.append(logs.get("loss"))
        return [*trainable, *others, *extra, *optimizer], _floats(losses)

    def test(self, state: State, batches: Iterable[Any]) -> dict[str, Any]:
        """Return loss and metrics over all batches, of the weights that training would leave behind."""
        trainable, others, _, optimizer = self._split(state)
        of_model, _, _, of_optimizer = self.parts
        pairs = [*zip(of_model, trainable, strict=True), *zip(of_optimizer, optimizer, strict=True)]
        with keras.StatelessScope(state_mapping=pairs) as scope:
            self._model.optimizer.finalize_variable_values(of_model)  # a moving average, if it keeps one
        trainable = [scope.get_current_value(v) for v in of_model]
        logs: dict[str, Any] = {}
        metrics = self._blank
        for batch in batches:
            logs, (trainable, others, metrics) = self._test_step((trainable, others, metrics), batch)
        return logs

    def forget(self) -> None:
        """Do nothing: the variables hold no state of ours."""

    def _split(self, state: State) -> list[Any]:
        values = iter(state)
        return [list(islice(values, len(part))) for part in self.parts]


class VariableTrainer:
    """On torch and TensorFlow, a step changes the variables, so a state is written into them first."""

    def __init__(self, model: Any, extra: Sequence[Any]) -> None:
        self._model = model
        self.variables = [
            *model.trainable_variables,
            *model.non_trainable_variables,
            *extra,
            *model.optimizer.variables,
        ]
        self._inside: State | None = None  # the state that the variables hold
        self._train_step, self._test_step = _steps(model)

    def train(self, state: State, feed: Feed) -> tuple[State, list[float]]:
        """Take one step for each pair of the feed; return the new state and the losses, if the model tells them."""
        if self._inside is not state:
            put(self.variables, state)
        self._inside = None
        losses: list[Any] = []
        for rate, batch in feed:
            self._model.optimizer.learning_rate = rate
            losses.append(self._train_step(as_tensors(batch)).get("loss"))
        self._inside = values_of(self.variables)
        return self._inside, _floats(losses)

    def test(self, state: State, batches: Iterable[Any]) -> dict[str, Any]:
        """Return loss and metrics over all batches, of the weights that training would leave behind."""
        put(self.variables, state)
        self._inside = None
        self._model.optimizer.finalize_variable_values(self._model.trainable_variables)
        self._model.reset_metrics()
        logs: dict[str, Any] = {}
        for batch in batches:
            logs = self._test_step(as_tensors(batch))
        return logs

    def forget(self) -> None:
        """Take note that somebody else writes into the variables."""
        self._inside = None


def trainer_of(model: Any, extra: Sequence[Any]) -> JaxTrainer | VariableTrainer:
    """Return the trainer of a compiled and built model; `extra` are variables that belong to a state, too."""
    return JaxTrainer(model, extra) if keras.backend.backend() == "jax" else VariableTrainer(model, extra)


def values_of(variables: Iterable[Any]) -> State:
    """Return copies of the values; on JAX, too, since `fit` gives away the memory of the values that it finds."""
    return [_copy(v.value) for v in variables]


def put(variables: Iterable[Any], state: State) -> None:
    """Write values into variables."""
    for variable, value in zip(variables, state, strict=True):
        variable.assign(value)


def as_tensors(batch: Any) -> Any:
    """Return a nest of arrays as the backend's tensors."""
    return tree.map_structure(ops.convert_to_tensor, batch)


def _steps(model: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return what trains and what tests on one batch, on torch or TensorFlow."""

    def train(batch: Any) -> Any:
        model.reset_metrics()  # so that the loss is that of this batch
        return model.train_step(batch)

    def test(batch: Any) -> Any:
        return model.test_step(batch)

    if keras.backend.backend() == "torch":
        import torch  # noqa: PLC0415 - only where it is the backend

        return torch.enable_grad()(train), torch.no_grad()(test)
    if model.run_eagerly:
        return train, test
    import tensorflow as tf  # noqa: PLC0415 - only where it is the backend

    compiled = tf.function(jit_compile=model.jit_compile)  # one graph for each shape, whatever came before
    return compiled(train), compiled(test)


def _copy(value: Any) -> Any:
    backend = keras.backend.backend()
    if backend == "torch":
        return value.detach().clone()
    return value.read_value() if backend == "tensorflow" else value.copy()


def _floats(losses: list[Any]) -> list[float]:
    """Bring the losses to the host at once; none if the model's training step tells none."""
    if not losses or any(loss is None for loss in losses):
        return []
    if keras.backend.backend() == "torch":
        losses = ops.stack([ops.reshape(loss, ()) for loss in losses]).tolist()
    elif keras.backend.backend() == "jax":
        import jax  # noqa: PLC0415 - only where it is the backend

        losses = jax.device_get(losses)
    return [float(loss) for loss in losses]
