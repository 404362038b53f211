"""Later relatives of Adam by optax's names, arguments and defaults, each on a rule of `surefoot.rules`."""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

from typing import Any

from optax import GradientTransformationExtraArgs
from surefoot import rules
from surefoot._checks import refuse
from surefoot.optax._transformation import Number, Rate, checked_number, checked_rule, transformation


def adabelief(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-16,
    eps_root: Number = 1e-16,
    *,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """Adam that divides by how far gradients are from their mean: `optax.adabelief`.

    Use it in place of Adam where SGD generalizes better; see `surefoot.rules.AdaBelief` for the formula.

    Args:
        learning_rate: a number, a schedule or a JAX array; see `from_rule`.
        b1: in [0, 1).
        b2: in [0, 1).
        eps: at least 0.
        eps_root: added to the mean square at every step; at least 0.
        nesterov: False.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = adabelief(0.1, b1=0.5, b2=0.0)
        >>> updates, _ = optimizer.update(jnp.array([1.0, -100.0]), optimizer.init(jnp.zeros(2)))
        >>> print([round(u, 4) for u in updates.tolist()])
        [-0.2, 0.2]

    References:
        Zhuang et al., "AdaBelief Optimizer", 2020, arXiv:2010.07468.
    """
    if nesterov:
        raise refuse("adabelief", "nesterov", nesterov, "False", "Use optax.adabelief for it.")
    rule = checked_rule(rules.AdaBelief, b1=b1, b2=b2, eps=eps, eps_root=eps_root)
    return transformation("adabelief", rule, learning_rate)


def adan(
    learning_rate: Rate,
    b1: Number = 0.98,
    b2: Number = 0.92,
    b3: Number = 0.99,
    eps: Number = 1e-8,
    eps_root: Number = 1e-8,
    weight_decay: Rate = 0.0,
    mask: Any = None,
) -> GradientTransformationExtraArgs:
    """Adaptive Nesterov momentum: `optax.adan`, whose factor of the change is 1 - b2 where the paper's is b2.

    Use it for large batches; see `surefoot.rules.Adan` for the formula, and `from_rule(rules.Adan(), ...)` for the
    paper's factor.

    Args:
        learning_rate: a number, a schedule or a JAX array; see `from_rule`.
        b1: of the mean gradient; in [0, 1).
        b2: of its mean change; in [0, 1).
        b3: of the mean square; in [0, 1).
        eps: at least 0.
        eps_root: added inside the root; at least 0.
        weight_decay: decoupled; at least 0, or a schedule.
        mask: a tree of booleans, or a prefix of one, or a function that makes one: what shall decay.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = adan(0.1)
        >>> updates, _ = optimizer.update(jnp.array([1.0, -100.0]), optimizer.init(jnp.zeros(2)))
        >>> print([round(u, 4) for u in updates.tolist()])
        [-0.1, 0.1]

    References:
        Xie et al., "Adan", 2022, arXiv:2208.06677. Its betas are 1 minus these.
    """
    rule = checked_rule(rules.Adan, b1=b1, b2=b2, b3=b3, eps=eps, eps_root=eps_root, is_complementary=True)
    return transformation("adan", rule, learning_rate, weight_decay=weight_decay, mask=mask)


def ademamix(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    b3: Number = 0.9999,
    alpha: Number = 5.0,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    mu_dtype: Any = None,
    weight_decay: Rate = 0.0,
    mask: Any = None,
) -> GradientTransformationExtraArgs:
    """AdamW with a second, slow momentum: `optax.contrib.ademamix`.

    Use it for runs of ten thousand steps and more, there with the warm-ups of
    `from_rule(rules.AdEMAMix(alpha_warmup=..., b3_warmup=...), ...)`; see `surefoot.rules.AdEMAMix` for the formula.

    Args:
        learning_rate: a number, a schedule or a JAX array; see `from_rule`.
        b1: of the fast momentum; in [0, 1).
        b2: of the mean square; in [0, 1).
        b3: of the slow momentum; in [0, 1). No schedule.
        alpha: weight of the slow momentum; at least 0. No schedule.
        eps: at least 0.
        eps_root: 0.
        mu_dtype: None: the momentum is in float32 or better.
        weight_decay: decoupled; at least 0, or a schedule.
        mask: a tree of booleans, or a prefix of one, or a function that makes one: what shall decay.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = ademamix(0.1)
        >>> updates, _ = optimizer.update(jnp.array([1.0, -100.0]), optimizer.init(jnp.zeros(2)))
        >>> print([round(u, 3) for u in updates.tolist()])
        [-0.1, 0.1]

    References:
        Pagliardini, Ablin, Grangier, "The AdEMAMix Optimizer", 2024, arXiv:2409.03137.
    """
    if mu_dtype is not None:
        raise refuse("ademamix", "mu_dtype", mu_dtype, "None", "Slots are in float32 or better, always.")
    if isinstance(eps_root, (int, float)) and eps_root:
        raise refuse("ademamix", "eps_root", eps_root, "0", "Use optax.contrib.ademamix for it.")
    for name, value in {"b3": b3, "alpha": alpha}.items():
        if callable(value):
            cure = "For a warm-up: from_rule(rules.AdEMAMix(alpha_warmup=..., b3_warmup=...), ...)."
            raise refuse("ademamix", name, value, "a number", cure)
    rule = checked_rule(rules.AdEMAMix, b1=b1, b2=b2, b3=b3, alpha=alpha, eps=eps)
    return transformation("ademamix", rule, learning_rate, weight_decay=weight_decay, mask=mask)


def lamb(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-6,
    eps_root: Number = 0.0,
    weight_decay: Number = 0.0,
    mask: Any = None,
) -> GradientTransformationExtraArgs:
    """Adam whose step of each tensor is as long as the rate times the tensor: `optax.lamb`.

    Use it for batches of thousands, with a warm-up; see `surefoot.rules.LAMB` for the formula.

    Args:
        learning_rate: a number, a schedule or a JAX array; see `from_rule`.
        b1: in [0, 1).
        b2: in [0, 1).
        eps: at least 0.
        eps_root: 0.
        weight_decay: part of the direction whose length is set; at least 0. No schedule.
        mask: None: all weights decay.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer, weights = lamb(0.1), jnp.array([3.0, -4.0])
        >>> updates, _ = optimizer.update(jnp.array([1.0, -100.0]), optimizer.init(weights), weights)
        >>> print([round(u, 3) for u in updates.tolist()])
        [-0.354, 0.354]

    References:
        You et al., "Large Batch Optimization for Deep Learning", 2019, arXiv:1904.00962.
    """
    if isinstance(eps_root, (int, float)) and eps_root:
        raise refuse("lamb", "eps_root", eps_root, "0", "Use optax.lamb for it.")
    if mask is not None:
        raise refuse("lamb", "mask", mask, "None", "Use optax.multi_transform with two of them.")
    if callable(weight_decay):
        raise refuse("lamb", "weight_decay", weight_decay, "a number", "Use optax.lamb for a schedule.")
    rule = checked_rule(
        rules.LAMB, b1=b1, b2=b2, eps=eps, decay=checked_number("lamb", "weight_decay", weight_decay, at_least=0.0)
    )
    return transformation("lamb", rule, learning_rate)
