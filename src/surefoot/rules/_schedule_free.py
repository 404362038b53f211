"""Schedule-Free: any rule, with averaging of its iterates in the place of a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from surefoot._checks import integer, refuse, refuse_type
from surefoot.rules._math import maximum, minimum
from surefoot.rules._rule import Rule, Slots

TINY = 1e-37  # a float32: a rate of 0 has no weight, and 0 / TINY is 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFree(Rule):
    """A rule whose iterates z are averaged as they come, so that no schedule is needed.

    Use it with a constant rate, as high as training bears (AdamW's is often right, SGD's 10 to 50 times higher), where
    the length of the run is open. The rule inside has no momentum of its own: `b1` is in its place. Three points are in
    play: gradients are taken at y, which are the parameters; the rule steps z; x is the average, and the model to
    evaluate and to save. Where a schedule can be had and its rate is tuned, the schedule is often better.

        r_t = lr * min(t / warmup_steps, 1)
        w_t = t^r * max(r_1, ..., r_t)^weight_lr_power
        c = w_t / (w_1 + ... + w_t)
        dz = rule.step(y, g, t, r_t) - r_t * decay * y
        z = z + dz
        dy = c * (z_before - y) + (1 - b1 * (1 - c)) * dz
        x = (y - (1 - b1) * z) / b1

    Args:
        rule: the rule inside, which changes z.
        b1: how far y is from z to x; in (0, 1].
        warmup_steps: the rate grows linearly over so many steps; 0 for none.
        weight_lr_power: the average weighs by this power of the highest rate so far: little counts during a warm-up.
        r: the average weighs by this power of t; at least 0.
        decay: decoupled weight decay, taken at y; `Complete` would let the average decay instead.
        starts_at_zero: the warm-up of the rule, not of the weights, begins at 0: optax.

    Raises:
        ArgumentError: a number is out of its range.
        ArgumentTypeError: `rule` is no rule.

    References:
        Defazio et al., "The Road Less Scheduled", 2024, arXiv:2405.15682, and the package schedulefree 1.4.1.

    >>> from surefoot.rules import SGD
    >>> rule, y = ScheduleFree(rule=SGD()), 1.0
    >>> slots = rule.init(y)
    >>> for t in range(1, 101):
    ...     dy, slots = rule.step(y, 2.0 * y, t, 0.1, **slots)
    ...     y = y + dy
    >>> print(round(y, 3), round(rule.average(y, slots["z"]), 3))
    0.019 0.021
    """

    rule: Rule
    b1: float = 0.9
    warmup_steps: int = 0
    weight_lr_power: float = 2.0
    r: float = 0.0
    decay: float = 0.0
    starts_at_zero: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.rule, Rule):  # pyright: ignore[reportUnnecessaryIsInstance] - users' values
            raise refuse_type("ScheduleFree", "rule", self.rule, "a surefoot.rules.Rule", "For example rules.SGD().")
        self._check(b1="[0, 1]", weight_lr_power="[0, inf)", r="[0, inf)", decay="[0, inf)")
        if not self.b1:
            raise refuse("ScheduleFree", "b1", self.b1, "above 0", "At 0 the average cannot be told from y.")
        integer("ScheduleFree", "warmup_steps", self.warmup_steps, at_least=0)

    @property
    def scalar_slots(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Names of slots that are numbers: those of the rule inside, the sum of weights and the highest rate."""
        return (*self.rule.scalar_slots, "weight_sum", "lr_max")

    @property
    def is_global(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the rule inside needs the whole model at once."""
        return self.rule.is_global

    def init(self, x: Any) -> Slots:
        """Return the slots of the rule inside, z, and the weights so far."""
        return {**self.rule.init(x), "z": x + 0.0, "weight_sum": 0.0, "lr_max": 0.0}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change of y, which `x` is here, and the slots."""
        z, before, lr_max = (slots.pop(name) for name in ("z", "weight_sum", "lr_max"))
        lr_max = maximum(lr_max, self._warm(lr, t))
        weight = lr_max**self.weight_lr_power * (t**self.r if self.r else 1.0)
        weight_sum = before + weight
        c = weight / maximum(weight_sum, TINY)
        rate = self.effective_lr(lr, t)
        dz, new = self.rule.step(x, g, t, rate, **slots)
        if self.decay:
            dz = dz - rate * self.decay * x
        dy = c * (z - x) + (1.0 - self.b1 * (1.0 - c)) * dz
        return dy, {**new, "z": z + dz, "weight_sum": weight_sum, "lr_max": lr_max}

    def effective_lr(self, lr: Any, t: Any, **slots: Any) -> Any:
        """Return the rate of step `t`, warm-up included."""
        del slots
        return self._warm(lr, t - 1.0 if self.starts_at_zero else t)

    def average(self, y: Any, z: Any) -> Any:
        """Return x, the model to evaluate, from the parameters and their z."""
        return z + (y - z) / self.b1

    def _warm(self, lr: Any, t: Any) -> Any:
        return lr * minimum(t / self.warmup_steps, 1.0) if self.warmup_steps else lr
