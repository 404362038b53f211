"""Later relatives of Adam as torch optimizers, and a mask around any rule."""

from __future__ import annotations

from torch.optim.optimizer import ParamsT

from surefoot import rules
from surefoot._checks import integer, number
from surefoot.rules import Rule
from surefoot.torch._rule_optimizer import RuleOptimizer
from torch import Tensor


class AdaBelief(RuleOptimizer):
    """Adam that divides by how far gradients are from their mean; see `surefoot.rules.AdaBelief`.

    Use it in place of Adam where SGD generalizes better than Adam does. Its `eps` matters more than Adam's.

    Args:
        params: as in torch.optim.
        lr: the learning rate.
        betas: of the momentum and of the mean square; in [0, 1).
        eps: at least 0; as in the authors' code it is added to the mean square at every step, too.
        weight_decay: at least 0.
        decouple: let the weights decay beside the gradient; else add to the gradient.
        maximize: climb instead.

    Raises:
        ArgumentError: a number is out of its range, or a parameter is complex.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
    >>> optimizer = AdaBelief([weight], lr=0.1, betas=(0.5, 0.0))
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> print([round(w, 3) for w in weight.tolist()])
    [2.8, -3.8]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
        weight_decay: float = 0.0,
        *,
        decouple: bool = True,
        maximize: bool = False,
    ) -> None:
        rule = rules.AdaBelief(b1=betas[0], b2=betas[1], eps=eps, eps_root=eps)
        super().__init__(
            params, rule, lr, weight_decay=weight_decay, decoupled_weight_decay=decouple, maximize=maximize
        )


class Adan(RuleOptimizer):
    """Adaptive Nesterov momentum; see `surefoot.rules.Adan`.

    Use it for large batches, at rates 5 to 10 times Adam's. It keeps four arrays where Adam keeps two.

    Args:
        params: as in torch.optim.
        lr: the learning rate.
        betas: of the mean gradient, of its mean change, and of the mean square; in [0, 1).
        eps: at least 0.
        weight_decay: decoupled; the authors' divides by 1 + lr * weight_decay, which is the same to first order.
        maximize: climb instead.

    Raises:
        ArgumentError: a number is out of its range, or a parameter is complex.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
    >>> optimizer = Adan([weight], lr=0.1)
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> print([round(w, 3) for w in weight.tolist()])
    [2.9, -3.9]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        rule = rules.Adan(b1=betas[0], b2=betas[1], b3=betas[2], eps=eps)
        super().__init__(params, rule, lr, weight_decay=weight_decay, maximize=maximize)


class AdEMAMix(RuleOptimizer):
    """AdamW with a second, slow momentum; see `surefoot.rules.AdEMAMix`.

    Use it for runs of ten thousand steps and more, with both warm-ups as long as the run.

    Args:
        params: as in torch.optim.
        lr: the learning rate.
        betas: of the fast momentum, of the mean square, and of the slow momentum; in [0, 1).
        alpha: weight of the slow momentum; at least 0.
        beta3_warmup: steps in which the third beta rises from the first; None for none.
        alpha_warmup: steps in which alpha rises from 0; None for none.
        eps: at least 0.
        weight_decay: decoupled.
        maximize: climb instead.

    Raises:
        ArgumentError: a number is out of its range, or a parameter is complex.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
    >>> optimizer = AdEMAMix([weight], lr=0.1, alpha_warmup=100, beta3_warmup=100)
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> print([round(w, 3) for w in weight.tolist()])
    [2.9, -3.9]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.9999),
        alpha: float = 5.0,
        beta3_warmup: int | None = None,
        alpha_warmup: int | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        rule = rules.AdEMAMix(
            b1=betas[0],
            b2=betas[1],
            b3=betas[2],
            alpha=alpha,
            b3_warmup=_steps("beta3_warmup", beta3_warmup),
            alpha_warmup=_steps("alpha_warmup", alpha_warmup),
            eps=eps,
        )
        super().__init__(params, rule, lr, weight_decay=weight_decay, maximize=maximize)


class LAMB(RuleOptimizer):
    """Adam whose step of each tensor is as long as `lr` times the tensor; see `surefoot.rules.LAMB`.

    Use it for batches of thousands, with a warm-up.

    Args:
        params: as in torch.optim.
        lr: the learning rate: the length of a step as a share of the tensor's.
        betas: of the momentum and of the mean square; in [0, 1).
        eps: at least 0.
        weight_decay: part of the direction whose length is set; at least 0.
        maximize: climb instead.

    Raises:
        ArgumentError: a number is out of its range, or a parameter is complex.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
    >>> optimizer = LAMB([weight], lr=0.1)
    >>> weight.square().sum().backward()
    >>> optimizer.step()  # by 0.1 * 5
    >>> print([round(w, 3) for w in weight.tolist()])
    [2.646, -3.646]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        number("LAMB", "weight_decay", weight_decay, at_least=0.0)
        rule = rules.LAMB(b1=betas[0], b2=betas[1], eps=eps, decay=float(weight_decay))
        super().__init__(params, rule, lr, maximize=maximize)


class Cautious(RuleOptimizer):
    """Any rule, left out where its step's sign is not the gradient's; see `surefoot.rules.Cautious`.

    Use it around a rule with momentum, at that rule's own rate. The settings of the rule inside are this object's own:
    parameter groups may differ by rate and weight decay, and a saved state does not hold them.

    Args:
        params: as in torch.optim.
        rule: the rule inside, as `rules.Adam()`.
        lr: the learning rate.
        floor: the least share by which the rest is divided; above 0, at most 1.
        weight_decay: decoupled.
        maximize: climb instead.

    Raises:
        ArgumentError: a number is out of its range, or a parameter is complex.
        ArgumentTypeError: `rule` is no rule.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
    >>> optimizer = Cautious([weight], rules.Adam(), lr=0.1)
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> print([round(w, 3) for w in weight.tolist()])
    [2.9, -3.9]
    """

    def __init__(
        self,
        params: ParamsT,
        rule: Rule,
        lr: float | Tensor,
        *,
        floor: float = 1e-3,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, rules.Cautious(rule=rule, floor=floor), lr, weight_decay=weight_decay, maximize=maximize
        )


def _steps(name: str, steps: int | None) -> int:
    return 0 if steps is None else integer("AdEMAMix", name, steps, at_least=0, cure="None for none.")
