"""optax's optimizers by their own names, arguments and defaults, each on a rule of `surefoot.rules`.

Swap the import and get the same numbers, a rate that can be read and set in the state, and float32 arithmetic under
bfloat16 parameters. What a rule cannot do is refused by name.
"""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

from typing import Any, Literal

import jax

from optax import GradientTransformationExtraArgs
from surefoot import rules
from surefoot._checks import number, refuse, refuse_type
from surefoot.optax._transformation import Number, Rate, transformation
from surefoot.optax._transformation import checked_number as _number
from surefoot.optax._transformation import checked_rule as _rule


def sgd(
    learning_rate: Rate,
    momentum: Number | None = None,
    nesterov: bool = False,  # noqa: FBT001, FBT002 - optax's order of arguments, here and below
    accumulator_dtype: Any = None,
) -> GradientTransformationExtraArgs:
    """Step against the gradient, or against a running sum of gradients: `optax.sgd`.

    Use it where a well-tuned rate is at hand; see `surefoot.rules.SGD` for the formula.

    Args:
        learning_rate: a number, a schedule or a JAX array; see `from_rule`.
        momentum: None for none; in [0, 1].
        nesterov: look ahead along the momentum.
        accumulator_dtype: None: the momentum is in float32 or better.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = sgd(0.5)
        >>> updates, _ = optimizer.update(jnp.array([1.0, -2.0]), optimizer.init(jnp.zeros(2)))
        >>> print(updates)
        [-0.5  1. ]

    References:
        Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.
    """
    _refuse_dtype("sgd", "accumulator_dtype", accumulator_dtype)
    rule = _rule(rules.SGD, nesterov=nesterov, momentum=0.0 if momentum is None else momentum)
    return transformation("sgd", rule, learning_rate)


def adagrad(
    learning_rate: Rate, initial_accumulator_value: Number = 0.1, eps: Number = 1e-7
) -> GradientTransformationExtraArgs:
    """Divide by the root of the sum of all squared gradients so far: `optax.adagrad`.

    Use it for sparse features; in long runs its rate dies away. See `surefoot.rules.Adagrad` for the formula: the sum
    starts at 0.1 and eps stands inside the root, in optax and in Keras; neither in torch.

    Args:
        learning_rate: a number, a schedule or a JAX array; see `from_rule`.
        initial_accumulator_value: the first value of the sum; at least 0.
        eps: above 0 if the sum starts at 0.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = adagrad(0.1)
        >>> updates, _ = optimizer.update(jnp.array([1.0, -100.0]), optimizer.init(jnp.zeros(2)))
        >>> print([round(u, 4) for u in updates.tolist()])
        [-0.0953, 0.1]

    References:
        Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning", 2011.
    """
    start = _number("adagrad", "initial_accumulator_value", initial_accumulator_value, at_least=0.0)
    if not isinstance(eps, jax.Array) and not isinstance(start, jax.Array) and eps == start == 0.0:
        cure = "A gradient of 0 would be 0 / 0. Use eps=1e-30."
        raise refuse("adagrad", "eps", eps, "above 0 where initial_accumulator_value is 0", cure)
    return transformation("adagrad", _rule(rules.Adagrad, eps_inside=True, start=start, eps=eps), learning_rate)


def adadelta(
    learning_rate: Rate = 1.0,
    rho: Number = 0.9,
    eps: Number = 1e-6,
    weight_decay: Rate = 0.0,
    weight_decay_mask: Any = None,
) -> GradientTransformationExtraArgs:
    """Divide by the root mean square of gradients, multiply by that of past changes: `optax.adadelta`.

    Use it where no rate is known and speed does not matter; see `surefoot.rules.Adadelta` for the formula. optax's default
    for the rate is None, with which it climbs: it then leaves out the sign. Here it is 1.0, the paper's.

    Args:
        learning_rate: a number, a schedule or a JAX array; see `from_rule`.
        rho: in [0, 1].
        eps: at least 0; it decides how fast the start is.
        weight_decay: coupled, added to the gradient; at least 0, or a schedule.
        weight_decay_mask: a tree of booleans, or a prefix of one, or a function that makes one: what shall decay.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = adadelta()
        >>> updates, _ = optimizer.update(jnp.array([1.0, -100.0]), optimizer.init(jnp.zeros(2)))
        >>> print([round(u, 5) for u in updates.tolist()])
        [-0.00316, 0.00316]

    References:
        Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, arXiv:1212.5701.
    """
    if learning_rate is None:  # pyright: ignore[reportUnnecessaryComparison] - users' values
        cure = "With None optax leaves out the sign, and climbs. Use 1.0, or optax.adadelta to climb."
        raise refuse_type("adadelta", "learning_rate", learning_rate, "a number, an array or a schedule", cure)
    return transformation(
        "adadelta",
        _rule(rules.Adadelta, rho=rho, eps=eps),
        learning_rate,
        weight_decay=weight_decay,
        mask=weight_decay_mask,
        is_decoupled=False,
    )


def rmsprop(
    learning_rate: Rate,
    decay: Number = 0.9,
    eps: Number = 1e-8,
    initial_scale: Number = 0.0,
    eps_in_sqrt: bool = True,  # noqa: FBT001, FBT002
    centered: bool = False,  # noqa: FBT001, FBT002
    momentum: Number | None = None,
    nesterov: bool = False,  # noqa: FBT001, FBT002
    bias_correction: bool = False,  # noqa: FBT001, FBT002
) -> GradientTransformationExtraArgs:
    """Divide by a running root mean square of gradients: `optax.rmsprop`.

    Use it for recurrent networks and reinforcement learning; see `surefoot.rules.RMSprop` for the formula. As in optax the
    momentum collects changes that have their rate already; in torch it does not.

    Args:
        learning_rate: a number, a schedule or a JAX array; see `from_rule`.
        decay: in [0, 1].
        eps: at least 0.
        initial_scale: the first mean square; at least 0.
        eps_in_sqrt: eps stands inside the root; outside in torch.
        centered: subtract the square of the mean gradient.
        momentum: None for none; in [0, 1].
        nesterov: False.
        bias_correction: False.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = rmsprop(0.1)
        >>> updates, _ = optimizer.update(jnp.array([1.0, -100.0]), optimizer.init(jnp.zeros(2)))
        >>> print([round(u, 4) for u in updates.tolist()])
        [-0.3162, 0.3162]

    References:
        Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning", 2012; centered: Graves, 2013.
    """
    if nesterov:
        raise refuse("rmsprop", "nesterov", nesterov, "False", "Use nadam, or optax.rmsprop.")
    if bias_correction:
        cure = "RMSprop with bias correction is adam(b1=0.0); eps is outside the root there."
        raise refuse("rmsprop", "bias_correction", bias_correction, "False", cure)
    rule = _rule(
        rules.RMSprop,
        rho=_number("rmsprop", "decay", decay, at_least=0.0, at_most=1.0),
        eps=eps,
        momentum=0.0 if momentum is None else momentum,
        centered=centered,
        eps_inside=eps_in_sqrt,
        rate_in_buffer=True,
        start=_number("rmsprop", "initial_scale", initial_scale, at_least=0.0),
    )
    return transformation("rmsprop", rule, learning_rate)


def adam(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """Adaptive moments: `optax.adam`.

    Use it when in doubt; `adamw` for anything large. See `surefoot.rules.Adam` for the formula. In float32 the first steps
    are nearer to it than optax's, whose 1 - b2^t is off by 1e-5 there.

    Args:
        learning_rate: a number, a schedule or a JAX array; see `from_rule`.
        b1: in [0, 1).
        b2: in [0, 1).
        eps: at least 0.
        eps_root: added inside the root; at least 0.
        mu_dtype: None: the momentum is in float32 or better.
        nesterov: look ahead along the momentum.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = adam(0.1)
        >>> updates, _ = optimizer.update(jnp.array([1.0, -100.0]), optimizer.init(jnp.zeros(2)))
        >>> print([round(u, 4) for u in updates.tolist()])
        [-0.1, 0.1]

    References:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014, arXiv:1412.6980.
    """
    _refuse_dtype("adam", "mu_dtype", mu_dtype)
    rule = _rule(rules.Adam, b1=b1, b2=b2, eps=eps, eps_root=eps_root, nesterov=nesterov)
    return transformation("adam", rule, learning_rate)


def adamw(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    mu_dtype: Any = None,
    weight_decay: Rate = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """Adam whose weights decay beside it: `optax.adamw`.

    Use it for anything large. See `surefoot.rules.Adam` for the formula; the weights also lose
    `learning_rate * weight_decay` of themselves a step.

    Args:
        learning_rate: a number, a schedule or a JAX array; see `from_rule`.
        b1: in [0, 1).
        b2: in [0, 1).
        eps: at least 0.
        eps_root: added inside the root; at least 0.
        mu_dtype: None: the momentum is in float32 or better.
        weight_decay: at least 0, or a schedule; 1e-2 in torch.
        mask: a tree of booleans, or a prefix of one, or a function that makes one: what shall decay.
        nesterov: look ahead along the momentum.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = adamw(0.1, weight_decay=0.5)
        >>> weights = jnp.array([1.0, -4.0])
        >>> updates, _ = optimizer.update(jnp.array([1.0, -100.0]), optimizer.init(weights), weights)
        >>> print([round(u, 4) for u in updates.tolist()])
        [-0.15, 0.3]

    References:
        Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2017, arXiv:1711.05101.
    """
    _refuse_dtype("adamw", "mu_dtype", mu_dtype)
    rule = _rule(rules.Adam, b1=b1, b2=b2, eps=eps, eps_root=eps_root, nesterov=nesterov)
    return transformation("adamw", rule, learning_rate, weight_decay=weight_decay, mask=mask)


def nadam(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
) -> GradientTransformationExtraArgs:
    """Adam that looks ahead along its momentum: `optax.nadam`, which is `adam(nesterov=True)`.

    Use it as Adam. In torch and Keras the momentum grows with time: that is `from_rule(rules.NAdam(), learning_rate)`.

    Args:
        learning_rate: a number, a schedule or a JAX array; see `from_rule`.
        b1: in [0, 1).
        b2: in [0, 1).
        eps: at least 0.
        eps_root: added inside the root; at least 0.
        mu_dtype: None: the momentum is in float32 or better.
        nesterov: look ahead along the momentum.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = nadam(0.1)
        >>> updates, _ = optimizer.update(jnp.array([1.0, -100.0]), optimizer.init(jnp.zeros(2)))
        >>> print([round(u, 4) for u in updates.tolist()])
        [-0.1474, 0.1474]

    References:
        Dozat, "Incorporating Nesterov Momentum into Adam", 2016.
    """
    _refuse_dtype("nadam", "mu_dtype", mu_dtype)
    rule = _rule(rules.Adam, b1=b1, b2=b2, eps=eps, eps_root=eps_root, nesterov=nesterov)
    return transformation("nadam", rule, learning_rate)


def radam(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    threshold: Number = 5.0,
    *,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """Adam that is plain momentum until its second moment can be trusted: `optax.radam`.

    Use it as Adam, where a warm-up is not wanted; see `surefoot.rules.RAdam` for the formula. In float32 the step at which
    trust begins is nearer to it than optax's, whose 1 - b2^t is off by 1e-5 there.

    Args:
        learning_rate: a number, a schedule or a JAX array; see `from_rule`.
        b1: in [0, 1).
        b2: in [0, 1).
        eps: above 0, or at a gradient of 0 the first steps divide 0 by 0.
        eps_root: added inside the root; at least 0.
        threshold: the length of the average above which it is trusted; at least 4.
        nesterov: look ahead along the momentum.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = radam(0.1)
        >>> updates, _ = optimizer.update(jnp.array([1.0, -100.0]), optimizer.init(jnp.zeros(2)))
        >>> print([round(u, 4) for u in updates.tolist()])
        [-0.1, 10.0]

    References:
        Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2019, arXiv:1908.03265.
    """
    rule = _rule(
        rules.RAdam,
        b1=b1,
        b2=b2,
        eps=eps,
        eps_corrected=True,
        eps_root=eps_root,
        threshold=threshold,
        nesterov=nesterov,
    )
    return transformation("radam", rule, learning_rate)


def adamax(
    learning_rate: Rate, b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8
) -> GradientTransformationExtraArgs:
    """Adam with the largest recent gradient in place of the root mean square: `optax.adamax`.

    Use it where gradients are sparse or heavy-tailed; see `surefoot.rules.Adamax` for the formula.

    Args:
        learning_rate: a number, a schedule or a JAX array; see `from_rule`.
        b1: in [0, 1).
        b2: in [0, 1).
        eps: at least 0.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = adamax(0.1)
        >>> updates, _ = optimizer.update(jnp.array([1.0, -100.0]), optimizer.init(jnp.zeros(2)))
        >>> print([round(u, 4) for u in updates.tolist()])
        [-0.1, 0.1]

    References:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014, section 7.1.
    """
    return transformation("adamax", _rule(rules.Adamax, b1=b1, b2=b2, eps=eps), learning_rate)


def lion(
    learning_rate: Rate,
    b1: Number = 0.9,
    b2: Number = 0.99,
    mu_dtype: Any = None,
    weight_decay: Rate = 1e-3,
    mask: Any = None,
) -> GradientTransformationExtraArgs:
    """Step by the sign of momentum, every parameter by the rate: `optax.lion`.

    Use it with a rate 3 to 10 times smaller than Adam's; see `surefoot.rules.Lion` for the formula.

    Args:
        learning_rate: a number, a schedule or a JAX array; see `from_rule`.
        b1: of the step; in [0, 1).
        b2: of the momentum; in [0, 1).
        mu_dtype: None: the momentum is in float32 or better.
        weight_decay: decoupled; at least 0, or a schedule.
        mask: a tree of booleans, or a prefix of one, or a function that makes one: what shall decay.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = lion(0.1, weight_decay=0.5)
        >>> weights = jnp.array([1.0, -4.0])
        >>> updates, _ = optimizer.update(jnp.array([1.0, -100.0]), optimizer.init(weights), weights)
        >>> print([round(u, 4) for u in updates.tolist()])
        [-0.15, 0.3]

    References:
        Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, arXiv:2302.06675.
    """
    _refuse_dtype("lion", "mu_dtype", mu_dtype)
    return transformation("lion", _rule(rules.Lion, b1=b1, b2=b2), learning_rate, weight_decay=weight_decay, mask=mask)


def dog(
    learning_rate: Rate = 1.0,
    init_step: tuple[Literal["distance", "learning_rate", "heuristic"], Number] = ("heuristic", 1e-6),
    eps: Number = 1e-8,
    weight_decay: Number | None = None,
    mask: Any = None,
) -> GradientTransformationExtraArgs:
    """Find the rate from the distance travelled over the gradients: `optax.contrib.dog`.

    Use it where no rate is known, and average the weights; see `surefoot.rules.DoG` for the formula. It needs the whole
    model: in optax.multi_transform each part has a rate of its own.

    Args:
        learning_rate: what the found rate is multiplied with; see `from_rule`.
        init_step: ("heuristic", a) starts at the distance a * (1 + the norm of the parameters), ("distance", r) at r.
        eps: at least 0.
        weight_decay: coupled, added to the gradient; None for none.
        mask: a tree of booleans, or a prefix of one, or a function that makes one: what shall decay.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = dog(init_step=("distance", 0.1))
        >>> weights = jnp.zeros(2)
        >>> updates, _ = optimizer.update(jnp.array([3.0, -4.0]), optimizer.init(weights), weights)
        >>> print([round(u, 4) for u in updates.tolist()])
        [-0.06, 0.08]

    References:
        Ivgi, Hinder, Carmon, "DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule", 2023,
        arXiv:2302.12022.
    """
    kind, value = init_step
    if kind not in {"heuristic", "distance"}:
        cure = "A first rate r for a gradient of norm n is the distance r * n."
        raise refuse("dog", "init_step", init_step, '("heuristic", number) or ("distance", number)', cure)
    rule = _rule(
        rules.DoG, start=number("dog", "init_step", value, at_least=0.0), is_start_absolute=kind == "distance", eps=eps
    )
    decay = 0.0 if weight_decay is None else weight_decay
    return transformation("dog", rule, learning_rate, weight_decay=decay, mask=mask, is_decoupled=False)


def _refuse_dtype(where: str, argument: str, value: Any) -> None:
    if value is not None:
        cure = f"Slots are in float32 or better, always; for others use optax.{where}."
        raise refuse(where, argument, value, "None", cure)
