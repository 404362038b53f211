"""Any rule as a Keras optimizer, and the two named ones that Keras does not have."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, ClassVar

import keras
from surefoot import rules
from surefoot._checks import refuse, refuse_type
from surefoot.keras._arguments import OURS, arguments_of, bind, checked, takes_lr
from surefoot.keras._optimizers import registered
from surefoot.keras._step import RuleStep
from surefoot.keras._vector_step import compute_dtype, outside_of_graphs, value_of
from surefoot.rules import Rule, Vector

ops: Any = keras.ops


@registered
class RuleOptimizer(RuleStep):
    """Train with any rule: one of `surefoot.rules` in any of its conventions, or ten lines of your own.

    Use it to try a method, and for those that need the whole model at once; for a method that Keras has, take the class
    of that name: it exchanges saved states with Keras'. A slot is float32 even where its variable is of half precision.
    A slot that starts from the weights (DoG's) takes those that it finds when the optimizer is built.

    Args:
        rule: the rule. To load a saved model, a class of your own must be registered with
            `keras.saving.register_keras_serializable`.
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates.
        options: `weight_decay`, `clipnorm`, `use_ema` and so on, as in `keras.optimizers.Optimizer`; `decay` and
            `multipliers`, see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.

    >>> from surefoot.rules import SGD
    >>> optimizer = RuleOptimizer(SGD(momentum=0.9), learning_rate=0.1)
    >>> weight = keras.Variable(1.0)
    >>> for _ in range(2):
    ...     optimizer.apply([keras.ops.convert_to_tensor(1.0)], [weight])
    >>> print(keras.ops.convert_to_numpy(weight).round(3))
    0.71
    """

    has_keras_step: ClassVar[bool] = False

    @takes_lr
    def __init__(self, rule: Rule, learning_rate: Any = 0.001, **options: Any) -> None:
        if not isinstance(rule, Rule):  # pyright: ignore[reportUnnecessaryIsInstance] - users' values
            raise refuse_type(type(self).__name__, "rule", rule, "a surefoot.rules.Rule", "For example rules.Adam().")
        where, names = type(self).__name__, arguments_of(keras.optimizers.Optimizer)
        if "style" in options:
            cure = "The rule itself says which conventions it follows."
            raise refuse(where, "style", options["style"], "left out: there is no such argument", cure)
        values = bind(where, names, (learning_rate,), options, {})
        ours = {name: values.pop(name) for name in OURS if name in values}
        super().__init__(**values)
        self._rule = rule
        self.decay = ours.get("decay", self.decay)
        self.layer_rates = ours.get("multipliers")

    @property
    def rule(self) -> Rule:
        """The rule."""
        return self._rule

    def build(self, variables: Any) -> None:
        """Make the slots; Keras calls it before the first step."""
        if self.built:
            return
        super().build(variables)
        self._slots: dict[str, Any] = {}
        mine = [v for v in variables if not getattr(v, "overwrite_with_gradient", False)]
        dtype = compute_dtype(mine)
        with outside_of_graphs():
            slots = self.rule.init(Vector(value_of(v, dtype) for v in mine))
        for name, start in slots.items():
            if name in self.rule.scalar_slots:
                self._slots[name] = self._slot(name, start, dtype)
            else:
                found = {id(v): self._slot(name, s, dtype, v) for v, s in zip(mine, start.leaves, strict=True)}
                self._slots[name] = [found.get(id(v)) for v in variables]

    def slots_for(self, variables: Sequence[Any]) -> dict[str, Any]:
        """Return by the rule's names the Keras variables of the slots."""
        index = [self._get_variable_index(v) for v in variables]  # pyright: ignore[reportPrivateUsage]
        return {n: [k[i] for i in index] if isinstance(k, list) else k for n, k in self._slots.items()}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as Keras saves them."""
        return {"rule": _written(self.rule), **super().get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> RuleOptimizer:
        """Return the optimizer of saved arguments."""
        config = dict(config)
        if "rule" in config:
            config["rule"] = _read(config["rule"], custom_objects)
        return super().from_config(config, custom_objects)

    def _slot(self, name: str, start: Any, dtype: str, variable: Any = None) -> Any:
        """Return a variable of our own that starts with these values: as large as a variable of the model, or a number."""
        if variable is not None:
            name = f"{getattr(variable, 'path', variable.name).replace('/', '_')}_{name}"

        def initializer(shape: Any, dtype: Any) -> Any:
            return ops.broadcast_to(
                ops.convert_to_tensor(start, dtype), shape
            )  # `cast` takes a number by way of float32

        add: Any = self.add_variable
        return add(
            shape=() if variable is None else variable.shape,
            initializer=initializer,
            dtype=dtype,
            aggregation="only_first_replica" if variable is None else "none",
            layout=getattr(variable, "_layout", None),
            name=name,
        )


@registered
class RAdam(RuleOptimizer):
    """Adam that is plain momentum until its second moment can be trusted: `surefoot.rules.RAdam`, which Keras lacks.

    Use it in place of Adam with a warm-up.

    Args:
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates.
        beta_1: of the momentum; in [0, 1).
        beta_2: of the mean square; in [0, 1).
        epsilon: at least 0; 1e-7 as in Keras' Adam, with style "torch" 1e-8.
        style: "torch": weight decay as L2 penalty, and torch's epsilon.
        options: `weight_decay`, `clipnorm`, `use_ema` and so on, as in `keras.optimizers.Optimizer`; `decay` and
            `multipliers`, see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    @takes_lr
    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        *,
        style: str = "keras",
        **options: Any,
    ) -> None:
        style, b1, b2 = checked("RAdam", style=style, beta_1=beta_1, beta_2=beta_2)
        (eps,) = checked("RAdam", epsilon=(1e-8 if style == "torch" else 1e-7) if epsilon is None else epsilon)
        super().__init__(rules.RAdam(b1=b1, b2=b2, eps=eps), learning_rate, **options)
        self.style = style

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as Keras saves them."""
        return _renamed(super().get_config(), beta_1="b1", beta_2="b2", epsilon="eps")


@registered
class DoG(RuleOptimizer):
    """Gradient descent that finds its rate from the distance travelled: `surefoot.rules.DoG`, which Keras lacks.

    Use it where no rate is known, with `use_ema=True` (its authors average the weights); expect it to be slower than a
    tuned rate. It measures the distance from the weights that it finds when it is built: load weights before.

    Args:
        learning_rate: a factor; leave it at 1.
        start: the first step, as a share of the size of the weights; the authors advise 1e-4 with batch normalization.
        is_start_absolute: `start` is the length of the first step itself.
        epsilon: at least 0; None is 1e-8.
        options: `weight_decay`, `clipnorm`, `use_ema` and so on, as in `keras.optimizers.Optimizer`; `decay` and
            `multipliers`, see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    @takes_lr
    def __init__(
        self,
        learning_rate: Any = 1.0,
        start: float = 1e-6,
        *,
        is_start_absolute: bool = False,
        epsilon: float | None = None,
        **options: Any,
    ) -> None:
        epsilon = 1e-8 if epsilon is None else epsilon
        start, is_absolute, eps = checked("DoG", start=start, is_start_absolute=is_start_absolute, epsilon=epsilon)
        super().__init__(rules.DoG(start=start, is_start_absolute=is_absolute, eps=eps), learning_rate, **options)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as Keras saves them."""
        return _renamed(super().get_config(), start="start", is_start_absolute="is_start_absolute", epsilon="eps")


def _renamed(config: dict[str, Any], **names: str) -> dict[str, Any]:
    """Return a configuration with the optimizer's own arguments in place of the rule."""
    numbers = config.pop("rule")["fields"]
    return {**{name: numbers[field] for name, field in names.items()}, **config}


def _written(rule: Rule) -> dict[str, Any]:
    """Return a rule in Keras' JSON: its name and its fields; a rule inside it is written the same way."""
    kind = type(rule)
    name = (
        f"surefoot.rules>{kind.__name__}" if _named(kind.__name__) is kind else keras.saving.get_registered_name(kind)
    )
    values = {f.name: getattr(rule, f.name) for f in fields(rule)}  # pyright: ignore[reportArgumentType] - every rule is a dataclass
    return {"name": name, "fields": {n: _written(v) if isinstance(v, Rule) else v for n, v in values.items()}}


def _read(written: Any, custom_objects: Any) -> Rule:
    if isinstance(written, Rule):
        return written
    package, _, name = written["name"].rpartition(">")
    if package == "surefoot.rules":
        kind = _named(name)
    else:
        kind = keras.saving.get_registered_object(written["name"], custom_objects)
    if kind is None:
        cure = "Decorate the class with keras.saving.register_keras_serializable(), or give it in custom_objects."
        raise refuse("RuleOptimizer", "rule", written["name"], "a rule that Keras knows", cure)
    inner = {
        n: _read(v, custom_objects) if isinstance(v, dict) and "fields" in v else v
        for n, v in written["fields"].items()
    }
    return kind(**inner)


def _named(name: str) -> type[Rule] | None:
    """Return the rule of that name in `surefoot.rules`, if it offers one."""
    return getattr(rules, name) if name in rules.__all__ else None
