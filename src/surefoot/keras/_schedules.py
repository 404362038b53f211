"""What may be a learning rate in Keras: a number, a schedule of Keras, one of ours, or a function."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import inspect
import numbers
import sys
from collections.abc import Callable
from typing import Any

from keras.src.saving.serialization_lib import in_safe_mode  # the only way to know what a loading function was told

import keras
from surefoot._checks import number, refuse, refuse_type
from surefoot._errors import ArgumentError
from surefoot.schedules import Schedule, from_dict

ops: Any = keras.ops
registered: Any = keras.saving.register_keras_serializable(package="surefoot")

PLAIN = "A number, a surefoot or Keras schedule, or a function of the number of updates."


class PerUpdate(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that follows updates which really happened; our optimizers give it their number, Keras' that of batches."""


@registered
class FromSchedule(PerUpdate):
    """Make a learning rate for Keras of a surefoot schedule: `base * schedule(step)`, inside the compiled step.

    Use it where a schedule's lengths are shares or epochs, so that the length of the run must be said, and in Keras' own
    optimizers. Ours take a schedule as it is: `Adam(learning_rate=0.001 * schedule)`.

    In our optimizers `step` counts updates that really happened. Keras' own count batches, so with
    `gradient_accumulation_steps=n` a schedule is n times as fast there.

    Args:
        schedule: one of `surefoot.schedules`.
        base: the rate at which the schedule's factor is 1.
        total_steps: the updates of the whole run; needed if a length is open, a share or in epochs.
        steps_per_epoch: the updates of one epoch; needed for lengths in epochs.

    Raises:
        ArgumentError: a value that is not allowed, or a length that is not known.
        ArgumentTypeError: a type that is not allowed.

    >>> from surefoot.schedules import cosine_decay, linear_warmup
    >>> rate = FromSchedule(linear_warmup("10%") >> cosine_decay(), base=0.01, total_steps=100)
    >>> [round(float(rate(step)), 4) for step in (0, 5, 10, 55, 100)]
    [0.0, 0.005, 0.01, 0.005, 0.0]
    """

    def __init__(
        self,
        schedule: Schedule,
        base: float = 1.0,
        total_steps: int | None = None,
        steps_per_epoch: float | None = None,
    ) -> None:
        if not isinstance(schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance] - users' values
            raise refuse_type("FromSchedule", "schedule", schedule, "a schedule of surefoot.schedules")
        if total_steps is None and not schedule.is_resolved:
            cure = "Give total_steps=, the updates of the whole run, or lengths in steps."
            raise refuse("FromSchedule", "schedule", schedule, "a schedule whose lengths are known in steps", cure)
        self.schedule = schedule
        self.base = number("FromSchedule", "base", as_number(base), at_least=0.0)
        self.total_steps, self.steps_per_epoch = total_steps, steps_per_epoch
        self._known = schedule if total_steps is None else schedule.resolve(total_steps, steps_per_epoch)

    def __call__(self, step: Any) -> Any:
        """Return the rate at a step."""
        step = ops.convert_to_tensor(step)
        return ops.cast(self.base * self._known(_plain(step)), keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as Keras saves them."""
        return {
            "schedule": self.schedule.to_dict(),
            "base": self.base,
            "total_steps": self.total_steps,
            "steps_per_epoch": self.steps_per_epoch,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FromSchedule:
        """Return the schedule of saved arguments; one that calls a function, only where `safe_mode=False` was said."""
        written = config["schedule"]
        try:
            read = from_dict(written, allow_functions=in_safe_mode() is False)
        except ArgumentError as error:
            if "allow_functions" not in str(error):
                raise
            cure = "It imports and calls a function by name. If you trust the file, load it with safe_mode=False."
            raise refuse("FromSchedule", "schedule", written, "a schedule without a function", cure) from error
        return cls(read, **{name: value for name, value in config.items() if name != "schedule"})


@registered
class FromFunction(PerUpdate):
    """Make a learning rate for Keras of a function of the number of updates, called inside the compiled step.

    Our optimizers make it of a function of one argument: `Adam(learning_rate=lambda step: 0.1 / (1 + step))`. It gets
    a float array, so it decides with `keras.ops.where` and not with `if`.

    Args:
        function: takes the number of updates so far and returns the rate.

    Raises:
        ArgumentTypeError: not a function.

    >>> float(FromFunction(lambda step: 0.5 / (1 + step))(1))
    0.25
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        if not callable(function):
            raise refuse_type("FromFunction", "function", function, "a function of the number of updates")
        self.function = function

    def __call__(self, step: Any) -> Any:
        """Return the rate at a step."""
        floatx = keras.config.floatx()  # TensorFlow would not divide 0.5 by a whole number
        return ops.cast(self.function(ops.cast(step, floatx)), floatx)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as Keras saves them."""
        return {"function": keras.saving.serialize_keras_object(self.function)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FromFunction:
        """Return the schedule of saved arguments; a lambda is only read where `safe_mode=False` was said."""
        written = config["function"]
        is_safe = in_safe_mode() is not False
        return cls(written if callable(written) else keras.saving.deserialize_keras_object(written, safe_mode=is_safe))


def as_number(value: Any) -> Any:
    """Return an array of one number, of any library, as a float, and anything else as it is."""
    if isinstance(value, keras.Variable):
        value = ops.convert_to_numpy(value)
    if isinstance(value, numbers.Real) or getattr(value, "shape", None) != () or "bool" in str(value.dtype):
        return value
    return float(value.detach() if hasattr(value, "detach") else value)  # torch warns of a gradient that it drops


def as_rate(where: str, value: Any, say: Callable[[str], None]) -> Any:
    """Return what Keras takes as a learning rate for what a user gave."""
    if isinstance(value, Schedule):
        if not value.is_resolved:
            cure = "Wrap it: surefoot.keras.FromSchedule(schedule, total_steps=...), or give its lengths in steps."
            raise refuse(where, "learning_rate", value, "a schedule whose lengths are known in steps", cure)
        return FromSchedule(value)
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        return value
    if callable(value) and not isinstance(value, type):
        return _of_function(where, value, say)
    return number(where, "learning_rate", as_number(value), at_least=0.0, cure=PLAIN)


def _of_function(where: str, function: Callable[..., Any], say: Callable[[str], None]) -> Any:
    """Return a function without arguments as Keras takes it, and one of the number of updates as a schedule."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some built-in functions do not tell
        parameters = ()
    needed = [p for p in parameters if p.default is p.empty and p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    if len(needed) > 1:
        allowed = "a function of at most one argument, the number of updates so far"
        raise refuse(where, "learning_rate", function, allowed)
    if needed:
        return FromFunction(function)
    if keras.backend.backend() == "jax":
        say(
            "JAX calls a learning_rate without arguments once, when it compiles the step, and keeps what it returned. "
            "Give a function of one argument, the number of updates so far, or set `optimizer.learning_rate`."
        )
    return function


def _plain(step: Any) -> Any:
    """Return a step on torch's CPU as a Python number, with which a schedule is 20 times as fast; others as they are."""
    torch: Any = sys.modules["torch"] if keras.backend.backend() == "torch" else None
    if torch is None or torch.compiler.is_compiling() or not step.is_cpu or step.ndim:
        return step
    try:
        return step.item()
    except RuntimeError:  # inside of torch.vmap there are many steps in one
        return step
