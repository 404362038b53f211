"""The methods that find their own learning rate, as torch optimizers: names, arguments and defaults of their packages.

`DoG`, the first of them, is in `_rule_optimizer.py`. Each has one estimate for the whole model; groups differ by their
`lr`, a factor, and by their settings.
"""

from __future__ import annotations

import math
from typing import Any

from torch.optim.optimizer import ParamsT

import torch
from surefoot import rules
from surefoot._checks import refuse
from surefoot.torch._rule_optimizer import RuleOptimizer
from torch import Tensor


class DoWG(RuleOptimizer):
    """Distance over weighted gradients; see `surefoot.rules.DoWG` for the formula, and when to use it.

    Args:
        params: as in torch.optim.
        lr: a factor on the rate that it finds.
        start: the first distance; above 0.
        eps: at least 0.
        weight_decay: decoupled, with the rate that it finds.
        maximize: climb instead.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = DoWG([weight], start=0.5)
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> print([round(w, 3) for w in weight.tolist()], [round(r, 3) for r in optimizer.effective_learning_rates()])
    [0.776, -1.553] [0.112]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        *,
        start: float = 1e-2,
        eps: float = 1e-4,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None:
        rule = rules.DoWG(start=start, eps=eps)
        super().__init__(params, rule, lr, weight_decay=weight_decay, maximize=maximize)


class _FromBelow(RuleOptimizer):
    """An estimate that starts at d0 and is in the moments and sums, which have the type of their parameter."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group; what it does not say is the default.

        Raises:
            ArgumentError: a number is out of its range, or a parameter is float16; nothing has been added.
        """
        super().add_param_group(param_group)
        half = next((p for p in self.param_groups[-1]["params"] if p.dtype is torch.float16), None)
        if half is not None:
            self.param_groups.pop()
            cure = "In float16 sums that begin at d0 are 0. Train float32 weights, under torch.autocast."
            raise refuse(type(self).__name__, "params", half.dtype, "float32, float64 or bfloat16", cure)


class DAdaptSGD(_FromBelow):
    """SGD with D-Adaptation; see `surefoot.rules.DAdaptSGD` for the formula, and when to use it.

    Args:
        params: as in torch.optim.
        lr: a factor on the rate that it finds; the place for a schedule.
        momentum: in [0, 1).
        weight_decay: added to the gradient, as in the package dadaptation; there, by a slip, not in the first norm.
        d0: the first estimate of the distance to a solution; above 0.
        growth_rate: the estimate grows by no more than this factor a step; at least 1.
        maximize: climb instead.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
    >>> optimizer = DAdaptSGD([weight], d0=0.1)
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> print([round(w, 3) for w in weight.tolist()], [round(r, 3) for r in optimizer.effective_learning_rates()])
    [2.94, -3.92] [0.01]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        *,
        d0: float = 1e-6,
        growth_rate: float = math.inf,
        maximize: bool = False,
    ) -> None:
        rule = rules.DAdaptSGD(momentum=momentum, d0=d0, growth=growth_rate)
        super().__init__(params, rule, lr, weight_decay=weight_decay, decoupled_weight_decay=False, maximize=maximize)


class DAdaptAdam(_FromBelow):
    """Adam with D-Adaptation; see `surefoot.rules.DAdaptAdam` for the formula, and when to use it.

    Args:
        params: as in torch.optim.
        lr: a factor on the rate that it finds; the place for a schedule.
        betas: of the momentum and of the mean square; in [0, 1).
        eps: at least 0.
        weight_decay: at least 0.
        decouple: let the weights decay beside the gradient, with the rate that it finds; else add to the gradient.
        use_bias_correction: Adam's.
        d0: the first estimate of the distance to a solution; above 0.
        growth_rate: the estimate grows by no more than this factor a step; at least 1.
        maximize: climb instead.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
    >>> optimizer = DAdaptAdam([weight], d0=0.1, use_bias_correction=True)
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> print([round(w, 3) for w in weight.tolist()], [round(r, 3) for r in optimizer.effective_learning_rates()])
    [2.9, -3.9] [0.032]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        decouple: bool = False,
        use_bias_correction: bool = False,
        d0: float = 1e-6,
        growth_rate: float = math.inf,
        maximize: bool = False,
    ) -> None:
        rule = rules.DAdaptAdam(
            b1=betas[0], b2=betas[1], eps=eps, d0=d0, growth=growth_rate, use_bias_correction=use_bias_correction
        )
        super().__init__(
            params, rule, lr, weight_decay=weight_decay, decoupled_weight_decay=decouple, maximize=maximize
        )


class Prodigy(_FromBelow):
    """Adam with Prodigy's estimate of the rate; see `surefoot.rules.Prodigy` for the formula, and when to use it.

    Args:
        params: as in torch.optim.
        lr: a factor on the rate that it finds; the place for a schedule.
        betas: of the momentum and of the mean square; in [0, 1).
        beta3: of the estimate; None is the root of the second beta.
        eps: at least 0.
        weight_decay: at least 0.
        decouple: let the weights decay beside the gradient, with the rate that it finds; else add to the gradient.
        use_bias_correction: Adam's.
        safeguard_warmup: a warm-up does not inflate the estimate.
        d0: the first estimate of the distance to a solution; above 0.
        d_coef: a factor on the estimate: the knob to turn first.
        growth_rate: the estimate grows by no more than this factor a step, once it has left d0; at least 1.
        maximize: climb instead.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
    >>> optimizer = Prodigy([weight], d0=0.1, use_bias_correction=True)
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> print([round(w, 3) for w in weight.tolist()], [round(r, 3) for r in optimizer.effective_learning_rates()])
    [2.9, -3.9] [0.032]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        beta3: float | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        decouple: bool = True,
        use_bias_correction: bool = False,
        safeguard_warmup: bool = False,
        d0: float = 1e-6,
        d_coef: float = 1.0,
        growth_rate: float = math.inf,
        maximize: bool = False,
    ) -> None:
        rule = rules.Prodigy(
            b1=betas[0],
            b2=betas[1],
            b3=beta3,
            eps=eps,
            d0=d0,
            d_coef=d_coef,
            growth=growth_rate,
            use_bias_correction=use_bias_correction,
            safeguard_warmup=safeguard_warmup,
        )
        super().__init__(
            params, rule, lr, weight_decay=weight_decay, decoupled_weight_decay=decouple, maximize=maximize
        )
