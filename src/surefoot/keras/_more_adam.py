"""Later relatives of Adam, which Keras lacks, as Keras optimizers."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from typing import Any, ClassVar

from surefoot import rules
from surefoot._checks import integer, number
from surefoot.keras._arguments import checked, takes_lr
from surefoot.keras._learning_rate_free import Named
from surefoot.keras._optimizers import registered


@registered
class AdaBelief(Named):
    """Adam that divides by how far gradients are from their mean: `surefoot.rules.AdaBelief`.

    Use it in place of Adam where SGD generalizes better than Adam does. Its epsilon matters more than Adam's.

    Args:
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates.
        beta_1: of the momentum; in [0, 1).
        beta_2: of the mean square; in [0, 1).
        epsilon: at least 0; None is 1e-16. As in the authors' code it is added to the mean square at every step, too.
        options: `weight_decay`, `clipnorm`, `use_ema` and so on, as in `keras.optimizers.Optimizer`; `decay` and
            `multipliers`, see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    field_of: ClassVar[dict[str, str]] = {"beta_1": "b1", "beta_2": "b2", "epsilon": "eps"}

    @takes_lr
    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        **options: Any,
    ) -> None:
        epsilon = 1e-16 if epsilon is None else epsilon
        b1, b2, eps = checked("AdaBelief", beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
        super().__init__(rules.AdaBelief(b1=b1, b2=b2, eps=eps, eps_root=eps), learning_rate, **options)


@registered
class Adan(Named):
    """Adaptive Nesterov momentum: `surefoot.rules.Adan`.

    Use it for large batches, at rates 5 to 10 times Adam's. It keeps four arrays where Adam keeps two.

    Args:
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates.
        beta_1: of the mean gradient; in [0, 1).
        beta_2: of its mean change; in [0, 1).
        beta_3: of the mean square; in [0, 1).
        epsilon: at least 0; None is 1e-8.
        options: `weight_decay`, `clipnorm`, `use_ema` and so on, as in `keras.optimizers.Optimizer`; `decay` and
            `multipliers`, see `surefoot.keras`.

    Raises:
        ArgumentError: an unknown name, or a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.
    """

    field_of: ClassVar[dict[str, str]] = {"beta_1": "b1", "beta_2": "b2", "beta_3": "b3", "epsilon": "eps"}

    @takes_lr
    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.98,
        beta_2: float = 0.92,
        beta_3: float = 0.99,
        epsilon: float | None = None,
        **options: Any,
    ) -> None:
        epsilon = 1e-8 if epsilon is None else epsilon
        b1, b2, eps = checked("Adan", beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
        b3 = number("Adan", "beta_3", beta_3, at_least=0.0, below=1.0)
        super().__init__(rules.Adan(b1=b1, b2=b2, b3=b3, eps=eps), learning_rate, **options)


@registered
class AdEMAMix(Named):
    """Adam with a second, slow momentum: `surefoot.rules.AdEMAMix`.

    Use it for runs of ten thousand updates and more, with both warm-ups as long as the run.

    Args:
        learning_rate: a number, a schedule of ours or of Keras, or a function of the number of updates.
        beta_1: of the fast momentum; in [0, 1).
        beta_2: of the mean square; in [0, 1).
        beta_3: of the slow momentum; in [0, 1).
        alpha: weight of the slow momentum; at least 0.
        beta_3_warmup: updates in which beta_3 rises from beta_1; 0 for none.
        alpha_warmup: updates in which alpha rises from 0; 0 for none.
        epsilon: at least 0; None is 1e-8.
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
        "alpha": "alpha",
        "beta_3_warmup": "b3_warmup",
        "alpha_warmup": "alpha_warmup",
        "epsilon": "eps",
    }

    @takes_lr
    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        beta_3: float = 0.9999,
        alpha: float = 5.0,
        *,
        beta_3_warmup: int = 0,
        alpha_warmup: int = 0,
        epsilon: float | None = None,
        **options: Any,
    ) -> None:
        where, epsilon = "AdEMAMix", 1e-8 if epsilon is None else epsilon
        b1, b2, eps = checked(where, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
        rule = rules.AdEMAMix(
            b1=b1,
            b2=b2,
            b3=number(where, "beta_3", beta_3, at_least=0.0, below=1.0),
            alpha=number(where, "alpha", alpha, at_least=0.0),
            b3_warmup=integer(where, "beta_3_warmup", beta_3_warmup, at_least=0),
            alpha_warmup=integer(where, "alpha_warmup", alpha_warmup, at_least=0),
            eps=eps,
        )
        super().__init__(rule, learning_rate, **options)
