"""Lion by hand: the slow obvious twin."""

from torch.optim import Optimizer

import torch


class PlainLion(Optimizer):
    """Lion in torch's own operations, written from the paper."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, *, maximize=False, foreach=False):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                g = -p.grad if group["maximize"] else p.grad
                state = self.state[p]
                m = state.setdefault("exp_avg", torch.zeros_like(p, memory_format=torch.preserve_format))
                p.mul_(1.0 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * torch.sign(m * b1 + g * (1.0 - b1)))
                m.mul_(b2).add_(g, alpha=1.0 - b2)
