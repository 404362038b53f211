"""The methods that find their own learning rate, as Keras optimizers; `DoG`, the first, is in `_rule_optimizer.py`.

Their `learning_rate` is a factor, and the place for a schedule. Weight decay is decoupled (but for `DAdaptSGD`) and goes
with the rate that is found, so it is part of the step. What starts from the weights takes those that it finds when the optimizer is built.
"""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import math
from typing import Any, ClassVar

from surefoot import rules
from surefoot.keras._arguments import checked, takes_lr
from surefoot.keras._optimizers import registered
from surefoot.keras._rule_optimizer import RuleOptimizer


class Named(RuleOptimizer):
    """A rule as an optimizer whose configuration has the arguments in place of the rule."""

    field_of: ClassVar[dict[str, str]] = {}  # argument -> field of the rule

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as Keras saves them."""
        config = super().get_config()
        numbers = config.pop("rule")["fields"]
        return {**{name: numbers[field] for name, field in self.field_of.items()}, **config}


@registered
class DoWG(Named):
    """Gradient descent whose rate is the squared distance over the root of weighted gradients: `surefoot.rules.DoWG`.

    Use it in place of `DoG` where its rates are too cautious.

    Args:
        learning_rate: a factor; leave it at 1.
        start: the first distance; above 0.
        epsilon: at least 0; None is 1e-4.
        options: `weight_decay`, `clipnorm`, `use_ema` and so on, as in `keras.optimizers.Optimizer`; `decay` and
            `multipliers`, see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    field_of: ClassVar[dict[str, str]] = {"start": "start", "epsilon": "eps"}

    @takes_lr
    def __init__(
        self, learning_rate: Any = 1.0, start: float = 1e-2, *, epsilon: float | None = None, **options: Any
    ) -> None:
        start, eps = checked("DoWG", start=start, epsilon=1e-4 if epsilon is None else epsilon)
        super().__init__(rules.DoWG(start=start, eps=eps), learning_rate, **options)


@registered
class DAdaptSGD(Named):
    """SGD whose rate is a lower bound of the distance to the solution: `surefoot.rules.DAdaptSGD`.

    Use it where no rate is known and SGD is the method, with a schedule that ends at 0.

    Args:
        learning_rate: a factor, a schedule of ours or of Keras, or a function of the number of updates.
        momentum: in [0, 1).
        d0: the first estimate; above 0.
        growth_rate: the estimate grows by no more than this factor a step; at least 1, None for any.
        options: `clipnorm`, `use_ema` and so on, as in `keras.optimizers.Optimizer`; `decay` and `multipliers`, see
            `surefoot.keras`. `weight_decay` is added to the gradient, as in the package dadaptation.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    field_of: ClassVar[dict[str, str]] = {"momentum": "momentum", "d0": "d0", "growth_rate": "growth"}

    @takes_lr
    def __init__(
        self,
        learning_rate: Any = 1.0,
        momentum: float = 0.0,
        *,
        d0: float = 1e-6,
        growth_rate: float | None = None,
        **options: Any,
    ) -> None:
        momentum, d0, growth = checked("DAdaptSGD", momentum=momentum, d0=d0, growth_rate=_cap(growth_rate))
        super().__init__(rules.DAdaptSGD(momentum=momentum, d0=d0, growth=growth), learning_rate, **options)

    @property
    def coupled_decay(self) -> float:
        """The weight decay: beside the rule it would do nothing, since the weights follow the sum of gradients."""
        return self.weight_decay or 0.0


@registered
class DAdaptAdam(Named):
    """Adam whose rate is a lower bound of the distance to the solution: `surefoot.rules.DAdaptAdam`.

    Use it where no rate is known, with a schedule that ends at 0; `Prodigy` finds the rate faster.

    Args:
        learning_rate: a factor, a schedule of ours or of Keras, or a function of the number of updates.
        beta_1: of the momentum; in [0, 1).
        beta_2: of the mean square; in [0, 1).
        epsilon: at least 0; None is 1e-8.
        d0: the first estimate; above 0.
        growth_rate: the estimate grows by no more than this factor a step; at least 1, None for any.
        use_bias_correction: Adam's.
        options: `weight_decay`, `clipnorm`, `use_ema` and so on, as in `keras.optimizers.Optimizer`; `decay` and
            `multipliers`, see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    field_of: ClassVar[dict[str, str]] = {
        "beta_1": "b1",
        "beta_2": "b2",
        "epsilon": "eps",
        "d0": "d0",
        "growth_rate": "growth",
        "use_bias_correction": "use_bias_correction",
    }

    @takes_lr
    def __init__(
        self,
        learning_rate: Any = 1.0,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        *,
        d0: float = 1e-6,
        growth_rate: float | None = None,
        use_bias_correction: bool = False,
        **options: Any,
    ) -> None:
        epsilon = 1e-8 if epsilon is None else epsilon
        b1, b2, eps = checked("DAdaptAdam", beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
        d0, growth = checked("DAdaptAdam", d0=d0, growth_rate=_cap(growth_rate))
        (is_corrected,) = checked("DAdaptAdam", use_bias_correction=use_bias_correction)
        rule = rules.DAdaptAdam(b1=b1, b2=b2, eps=eps, d0=d0, growth=growth, use_bias_correction=is_corrected)
        super().__init__(rule, learning_rate, **options)


@registered
class Prodigy(Named):
    """Adam whose rate is a lower bound of the distance to the solution that grows fast: `surefoot.rules.Prodigy`.

    Use it where no rate is known, with a schedule that ends at 0.

    Args:
        learning_rate: a factor, a schedule of ours or of Keras, or a function of the number of updates.
        beta_1: of the momentum; in [0, 1).
        beta_2: of the mean square; in [0, 1).
        beta_3: of the estimate; None is the root of beta_2.
        epsilon: at least 0; None is 1e-8.
        d0: the first estimate; above 0.
        d_coef: a factor on the estimate: the knob to turn first; above 0.
        growth_rate: the estimate grows by no more than this factor a step, once it has left d0; at least 1, None for
            any.
        use_bias_correction: Adam's.
        safeguard_warmup: a warm-up does not inflate the estimate.
        options: `weight_decay`, `clipnorm`, `use_ema` and so on, as in `keras.optimizers.Optimizer`; `decay` and
            `multipliers`, see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    field_of: ClassVar[dict[str, str]] = {
        "beta_1": "b1",
        "beta_2": "b2",
        "beta_3": "b3",
        "epsilon": "eps",
        "d0": "d0",
        "d_coef": "d_coef",
        "growth_rate": "growth",
        "use_bias_correction": "use_bias_correction",
        "safeguard_warmup": "safeguard_warmup",
    }

    @takes_lr
    def __init__(
        self,
        learning_rate: Any = 1.0,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        beta_3: float | None = None,
        epsilon: float | None = None,
        *,
        d0: float = 1e-6,
        d_coef: float = 1.0,
        growth_rate: float | None = None,
        use_bias_correction: bool = False,
        safeguard_warmup: bool = False,
        **options: Any,
    ) -> None:
        epsilon = 1e-8 if epsilon is None else epsilon
        b1, b2, b3, eps = checked("Prodigy", beta_1=beta_1, beta_2=beta_2, beta_3=beta_3, epsilon=epsilon)
        d0, d_coef, growth = checked("Prodigy", d0=d0, d_coef=d_coef, growth_rate=_cap(growth_rate))
        is_corrected, is_safe = checked(
            "Prodigy", use_bias_correction=use_bias_correction, safeguard_warmup=safeguard_warmup
        )
        rule = rules.Prodigy(
            b1=b1,
            b2=b2,
            b3=b3,
            eps=eps,
            d0=d0,
            d_coef=d_coef,
            growth=growth,
            use_bias_correction=is_corrected,
            safeguard_warmup=is_safe,
        )
        super().__init__(rule, learning_rate, **options)


def _cap(growth_rate: Any) -> Any:
    """Return None, which JSON can hold, for no cap."""
    return None if growth_rate == math.inf else growth_rate
