"""The rules that find their own rate, held against their authors' packages: 500 steps of a small net.

How equal. In float64 the two differ in the order of additions, by 1e-16 a step; how far that grows depends on the net, not
on the rule: the rates here are halved, so that the paths do not become chaotic, and 1e-9 is asked for. In float32 a step
rounds by 6e-8, and the estimate of the distance, a ratio of two sums, inherits it; 500 steps make some 1e-5 of that at
random, which the net again may multiply by 100: 1e-3 of the largest weight, over the first 100 steps.
"""

from __future__ import annotations

import numpy as np
import pytest

from surefoot.rules import DAdaptAdam, DAdaptSGD, DoG, DoWG, Prodigy

STEPS = 500
FREE = (DoG(start=0.1), DoWG(), DAdaptSGD(momentum=0.5), DAdaptAdam(), Prodigy())


def path(make, dtype, steps=STEPS):
    """Return the weights of a net after each step of a torch optimizer, and the optimizer."""
    torch = pytest.importorskip("torch")
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(64, 8, generator=draw, dtype=torch.float64).to(dtype)
    y = torch.tanh(x[:, :1] - 2.0 * x[:, 1:2]) + 0.3 * x[:, 2:3] * x[:, 3:4]
    sizes = ((16, 8), (16,), (1, 16), (1,))
    a, b, c, d = weights = [
        torch.nn.Parameter(0.3 * torch.randn(size, generator=draw, dtype=torch.float64).to(dtype)) for size in sizes
    ]
    optimizer, found = make(weights), []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.5 * (1.0 - step / STEPS)
        optimizer.zero_grad()
        (torch.tanh(x @ a.T + b) @ c.T + d - y).square().mean().backward()
        optimizer.step()
        found.append(torch.cat([w.detach().flatten() for w in weights]).double().numpy().copy())
    return np.array(found), optimizer


PEERS = [
    ("prodigyopt", "Prodigy", {}),
    ("prodigyopt", "Prodigy", {"weight_decay": 0.1, "safeguard_warmup": True}),
    ("prodigyopt", "Prodigy", {"weight_decay": 0.1, "decouple": False, "betas": (0.8, 0.99), "eps": 1e-4}),
    (
        "prodigyopt",
        "Prodigy",
        {"use_bias_correction": True, "growth_rate": 1.05, "d_coef": 2.0, "d0": 1e-4, "beta3": 0.99},
    ),
    ("dadaptation", "DAdaptAdam", {}),
    ("dadaptation", "DAdaptAdam", {"use_bias_correction": True, "growth_rate": 1.05, "d0": 1e-4}),
    ("dadaptation", "DAdaptAdam", {"weight_decay": 0.1, "decouple": True, "betas": (0.8, 0.99), "eps": 1e-4}),
    ("dadaptation", "DAdaptAdam", {"weight_decay": 0.1}),
    ("dadaptation", "DAdaptSGD", {}),
    ("dadaptation", "DAdaptSGD", {"momentum": 0.9, "growth_rate": 1.05, "d0": 1e-4}),
]


@pytest.mark.parametrize(("package", "name", "options"), PEERS, ids=str)
def test_optimizer_is_that_of_the_authors_package(package, name, options):
    torch, peer = pytest.importorskip("torch"), pytest.importorskip(package)
    import surefoot.torch as ours

    theirs, reference = path(lambda w: getattr(peer, name)(w, **options), torch.float64)
    found, optimizer = path(lambda w: getattr(ours, name)(w, **options), torch.float64)
    size = np.maximum.accumulate(np.abs(theirs).max(axis=1))[:, None]
    print("f64", (np.abs(found - theirs) / size).max(), reference.param_groups[0]["d"])
    assert (np.abs(found - theirs) <= 1e-9 * size).all()
    assert reference.param_groups[0]["d"] > 1e-3  # it has left d0
    lower, _ = path(lambda w: getattr(ours, name)(w, **options), torch.float32, 100)
    print("f32", (np.abs(lower - theirs[:100]) / size[:100]).max())
    assert (np.abs(lower - theirs[:100]) <= 1e-3 * size[:100]).all()
    assert optimizer.effective_learning_rates()[0] > 0.0
