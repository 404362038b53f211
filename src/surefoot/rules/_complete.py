"""What every optimizer has beside its rule: clipping, ascent, weight decay. Once, for all rules and all frameworks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from surefoot._checks import number, refuse, refuse_type
from surefoot.rules._math import leaf_sum, maximum, minimum, norm, sqrt
from surefoot.rules._rule import Rule, Slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete(Rule):
    """A rule, and around it what is the same for every rule; itself a rule.

    Drivers use it, so that none of this is written again for another framework. In this order:

        g = clip(g),    g = -g if maximize,    g = g + weight_decay * x if coupled
        dx = rule.step(x, g, …)
        dx = dx - rule.effective_lr(lr, …) * weight_decay * x if decoupled

    The effective rate is `lr` but for rules that find their own (`DoG`, `Prodigy` and their like).

    Args:
        rule: the rule inside.
        clip_value: no element of the gradient is larger in size than this.
        clip_norm: no parameter's gradient has a larger Euclidean norm.
        clip_global_norm: the gradient of the whole model has no larger Euclidean norm. At most one of the three.
        maximize: climb instead of descending.
        weight_decay: at least 0.
        is_decoupled: let the weights decay beside the rule (AdamW), not through it (Adam in torch).

    References:
        Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", 2013 (clipping);
        Loshchilov, Hutter, "Decoupled Weight Decay Regularization", 2017, arXiv:1711.05101.

    >>> from surefoot.rules import SGD
    >>> rule = Complete(rule=SGD(), clip_value=1.0, weight_decay=0.1)
    >>> dx, _ = rule.step(2.0, 30.0, t=1, lr=0.5)
    >>> round(dx, 6)
    -0.6
    """

    rule: Rule
    clip_value: float | None = None
    clip_norm: float | None = None
    clip_global_norm: float | None = None
    maximize: bool = False
    weight_decay: float = 0.0
    is_decoupled: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.rule, Rule):  # pyright: ignore[reportUnnecessaryIsInstance] - users' values
            raise refuse_type("Complete", "rule", self.rule, "a surefoot.rules.Rule", "For example rules.Adam().")
        self._check(weight_decay="[0, inf)")
        clips = {n: v for n in ("clip_value", "clip_norm", "clip_global_norm") if (v := getattr(self, n)) is not None}
        for name, value in clips.items():
            number("Complete", name, value, above=0.0)
        if len(clips) > 1:
            first, second = list(clips.items())[:2]
            raise refuse("Complete", second[0], second[1], f"None beside {first[0]}={first[1]}", "Clip in one way.")

    @property
    def scalar_slots(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Names of slots that are numbers: those of the rule inside."""
        return self.rule.scalar_slots

    @property
    def is_global(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the whole model is needed at once: by the rule inside, or to clip by the global norm."""
        return self.rule.is_global or self.clip_global_norm is not None

    def init(self, x: Any) -> Slots:
        """Return the slots of the rule inside."""
        return self.rule.init(x)

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, Slots]:
        """Return the change and the slots."""
        g = self._clipped(g)
        g = -g if self.maximize else g
        if self.weight_decay and not self.is_decoupled:
            g = g + self.weight_decay * x
        dx, new = self.rule.step(x, g, t, lr, **slots)
        if self.weight_decay and self.is_decoupled:
            dx = dx - self.rule.effective_lr(lr, t, **new) * self.weight_decay * x
        return dx, new

    @property
    def finds_rate(self) -> bool:
        """Whether the rule inside finds its own rate."""
        return self.rule.finds_rate

    def effective_lr(self, lr: Any, t: Any, **slots: Any) -> Any:
        """Return that of the rule inside."""
        return self.rule.effective_lr(lr, t, **slots)

    def doubt(self, t: Any, **slots: Any) -> str:
        """Return that of the rule inside."""
        return self.rule.doubt(t, **slots)

    def _clipped(self, g: Any) -> Any:
        if self.clip_value is not None:
            return minimum(maximum(g, -self.clip_value), self.clip_value)
        if self.clip_norm is not None:
            return self.clip_norm / maximum(sqrt(leaf_sum(g * g)), self.clip_norm) * g
        if self.clip_global_norm is not None:
            return self.clip_global_norm / maximum(norm(g), self.clip_global_norm) * g
        return g
