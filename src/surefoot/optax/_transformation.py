"""Any rule as an optax transformation: the whole model as one vector, the learning rate in the state.

One path serves every rule, element by element or over the whole model: XLA fuses it. Arithmetic and slots are in float32
or better, whatever the parameters are in; the updates have the parameters' type.
"""

# JAX's own types are partial, optax has none:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

import optax
from surefoot._checks import number, refuse, refuse_type
from surefoot.rules import Complete, Rule, Vector
from surefoot.schedules import Schedule

Number = float | jax.Array  # an array comes from optax.inject_hyperparams
Rate = Number | Callable[[Any], Any]


class RuleState(NamedTuple):
    """The state of a rule: what `init` returns and `update` takes and returns.

    Attributes:
        count: updates so far; int32.
        learning_rate: the rate of the next updates, to read and to set. Where the rate is a schedule or a JAX array, the
            number that its values are multiplied with: 1 until it is set.
        slots: the rule's memory by the names of its slots: trees like the parameters, and scalars.
    """

    count: jax.Array  # pyright: ignore[reportIncompatibleMethodOverride] - a tuple counts; optax names it so too
    learning_rate: jax.Array
    slots: dict[str, Any]


def from_rule(
    rule: Rule,
    learning_rate: Rate,
    *,
    weight_decay: Rate = 0.0,
    is_decoupled: bool = True,
    maximize: bool = False,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    clip_global_norm: float | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Turn any rule into an optax transformation.

    Use it for a method of your own, or for an option that optax's name for the method does not have; for the usual ones
    there are `adamw` and its like. See `rules.Complete` for the order of clipping, ascent and decay.

    The rate is in the state. `state._replace(learning_rate=jnp.asarray(1e-4))`, or in a chain
    `optax.tree.set(state, learning_rate=jnp.asarray(1e-4))`, holds from the next update on, without a recompilation
    (a value with a type of its own, `jnp.float32(1e-4)`, costs one), and `jax.vmap` over that field trains many rates at
    once. With a schedule the rate is `state.learning_rate * schedule(state.count)`, and the field starts at 1: setting it
    rescales the schedule.

    Args:
        rule: a `surefoot.rules.Rule`.
        learning_rate: a number; or a function of the count of updates, which starts at 0: a schedule of optax, or one of
            surefoot with its lengths in steps, `3e-3 * sf.cosine_decay(1000)`; or a JAX array, which stays where it is,
            like a schedule, so that `optax.inject_hyperparams` works.
        weight_decay: at least 0; a schedule and a JAX array will do as well.
        is_decoupled: let the weights decay beside the rule (AdamW), not through it.
        maximize: climb instead of descending.
        clip_value: no element of the gradient is larger in size than this.
        clip_norm: no parameter's gradient has a larger Euclidean norm.
        clip_global_norm: the whole gradient has no larger Euclidean norm. At most one of the three.

    Returns:
        A transformation whose state is a `RuleState`. Its `update` needs `params` if the rule or the decay does.

    Raises:
        ArgumentError: if a number is out of range, or a schedule has open lengths.
        ArgumentTypeError: if an argument has another type.

    Examples:
        >>> import jax.numpy as jnp
        >>> from surefoot import rules
        >>> optimizer = from_rule(rules.SGD(momentum=0.9), 0.1, clip_global_norm=1.0)
        >>> state = optimizer.init({"w": jnp.zeros(2)})
        >>> updates, state = optimizer.update({"w": jnp.array([3.0, 4.0])}, state)
        >>> print([round(u, 4) for u in updates["w"].tolist()], state.count, state.learning_rate)
        [-0.06, -0.08] 1 0.1
    """
    return transformation(
        "from_rule",
        rule,
        learning_rate,
        weight_decay=weight_decay,
        is_decoupled=is_decoupled,
        maximize=maximize,
        clip_value=clip_value,
        clip_norm=clip_norm,
        clip_global_norm=clip_global_norm,
    )


def transformation(
    where: str, rule: Rule, learning_rate: Rate, *, weight_decay: Any = 0.0, mask: Any = None, **settings: Any
) -> optax.GradientTransformationExtraArgs:
    """Return the transformation; `mask` as in optax.adamw, `settings` are those of `Complete`."""
    base, schedule = _base_and_schedule(where, learning_rate)
    is_live = callable(weight_decay) or isinstance(weight_decay, jax.Array)
    fixed: Any = 0.0 if is_live else weight_decay
    complete = Complete(rule=rule, weight_decay=fixed, **settings)

    def rule_for(tree: Any, count: Any) -> Complete:
        """Return the complete rule for a model; JAX's numbers, and those that differ by leaf, become vectors."""
        width = jax.tree.structure(tree).num_leaves
        live = {f.name: getattr(rule, f.name) for f in fields(rule)}  # pyright: ignore[reportArgumentType] - a dataclass
        live = {name: Vector([_wide(v)] * width) for name, v in live.items() if isinstance(v, jax.Array)}
        decay = weight_decay(count) if callable(weight_decay) else weight_decay
        if mask is not None and (is_live or weight_decay):
            decay = Vector(decay if is_on else 0.0 for is_on in _spread(mask, tree))
        elif is_live:
            decay = Vector([decay] * width)
        return replaced(complete, {"rule": replaced(rule, live), "weight_decay": decay})

    def init(params: Any) -> RuleState:
        leaves, structure = jax.tree.flatten(params)
        for leaf in leaves:
            if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
                cure = "Use optax.masked or optax.multi_transform to leave the others out."
                raise refuse_type(f"{where}.init", "params", leaf, "of floating types", cure)
        count = jnp.zeros([], jnp.int32)
        slots = rule_for(params, count).init(Vector(map(_wide, leaves)))
        slots = {name: _number(slot) if name in rule.scalar_slots else slot for name, slot in slots.items()}
        scalars = tuple(name for name, slot in slots.items() if not isinstance(slot, Vector))
        if set(scalars) != set(rule.scalar_slots):
            cure = "A slot that is an array is made from x, as in zeros_like(x)."
            raise refuse(
                type(rule).__name__, "scalar_slots", rule.scalar_slots, f"the slots that are numbers: {scalars}", cure
            )
        return RuleState(
            count=count,
            learning_rate=jnp.asarray(base),
            slots={
                name: jnp.asarray(slot, float) if name in scalars else structure.unflatten(slot.leaves)
                for name, slot in slots.items()
            },
        )

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, RuleState]:
        del extra_args
        gradients, structure = jax.tree.flatten(updates)
        models = gradients if params is None else structure.flatten_up_to(params)
        g = Vector(map(_wide, gradients))
        x = _Missing(where) if params is None else Vector(map(_wide, models))
        slots = {
            name: slot if name in rule.scalar_slots else Vector(structure.flatten_up_to(slot))
            for name, slot in state.slots.items()
        }
        factor = 1.0 if schedule is None else schedule(state.count)
        lr = jnp.asarray(state.learning_rate * factor, jnp.result_type(jnp.float32, *g.leaves))
        # A number plus an int32 is a float that widens no array: t and all that follows from it alone stay so.
        dx, new = rule_for(updates, state.count).step(x, g, state.count + 1.0, lr, **slots)
        return (
            structure.unflatten(jnp.asarray(d, jnp.result_type(p)) for d, p in zip(dx.leaves, models, strict=True)),
            RuleState(
                count=jnp.asarray(optax.safe_increment(state.count)),
                learning_rate=state.learning_rate,
                slots={
                    name: _like(old, _number(new[name]) if name in rule.scalar_slots else new[name], structure)
                    for name, old in state.slots.items()
                },
            ),
        )

    return optax.GradientTransformationExtraArgs(init, update)


def checked_rule(kind: type[Rule], **values: Any) -> Rule:
    """Return a checked rule; JAX arrays, whose values are not known yet, go in unchecked."""
    live = {name: value for name, value in values.items() if isinstance(value, jax.Array)}
    return replaced(kind(**{name: value for name, value in values.items() if name not in live}), live)


def checked_number(where: str, argument: str, value: Any, **bounds: Any) -> Any:
    """Check a number whose name here is not the rule's."""
    return value if isinstance(value, jax.Array) else number(where, argument, value, **bounds)


def replaced(rule: Any, values: Mapping[str, Any]) -> Any:
    """Return a copy of a frozen rule with other, unchecked values: JAX's are not known yet."""
    if not values:
        return rule
    other = copy.copy(rule)
    for name, value in values.items():
        object.__setattr__(other, name, value)
    return other


def _base_and_schedule(where: str, learning_rate: Any) -> tuple[float, Callable[[Any], Any] | None]:
    """Return where the state's learning rate starts, and what it is multiplied with."""
    if callable(learning_rate):
        if isinstance(learning_rate, Schedule):
            learning_rate(0)  # raises now, and not in the middle of a run, if a length is not known
        return 1.0, learning_rate
    if isinstance(learning_rate, jax.Array):
        if learning_rate.shape:
            raise refuse(where, "learning_rate", learning_rate, "a number, a scalar array or a schedule")
        if not isinstance(learning_rate, Tracer):
            number(where, "learning_rate", float(learning_rate), at_least=0.0)
        return 1.0, lambda _: learning_rate
    if isinstance(learning_rate, np.ndarray) and not learning_rate.shape:
        learning_rate = learning_rate.item()
    return number(where, "learning_rate", learning_rate, at_least=0.0), None


def _wide(leaf: Any) -> jax.Array:
    """Return the leaf in float32 or better: in bfloat16 0.999 is 1."""
    return jnp.asarray(leaf, jnp.promote_types(jnp.result_type(leaf), jnp.float32))


def _number(slot: Any) -> Any:
    """Return a scalar slot: it is a vector of equal leaves where a live number of the rule's took part."""
    return slot.leaves[0] if isinstance(slot, Vector) and slot.leaves else slot


def _like(old: Any, new: Any, structure: Any) -> Any:
    """Return a slot's new value in its old form and types."""
    if isinstance(new, Vector):
        olds = structure.flatten_up_to(old)
        return structure.unflatten(n.astype(o.dtype) for n, o in zip(new.leaves, olds, strict=True))
    return jnp.asarray(new, old.dtype)


def _spread(mask: Any, tree: Any) -> list[Any]:
    """Return one value of the mask for each leaf; the mask may be a function, and a prefix of the tree."""
    known = mask(tree) if callable(mask) else mask
    return jax.tree.leaves(jax.tree.map(lambda value, part: jax.tree.map(lambda _: value, part), known, tree))


class _Missing:
    """Parameters that were not given: the first use of them is refused."""

    def __init__(self, where: str) -> None:
        self._where = where

    def _refuse(self, *_: Any) -> Any:
        cure = "The rule or its weight decay needs them: update(gradients, state, params)."
        raise refuse(f"{self._where}.update", "params", None, "the parameters", cure)

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __neg__ = _refuse
    __pow__ = __gt__ = __lt__ = _refuse
    __rule_math__ = property(_refuse)
