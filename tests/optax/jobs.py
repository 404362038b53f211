"""Small JAX jobs for the tests, one line each in `JOBS`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import optax
import surefoot.optax
from surefoot.optax import JaxJob

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(52, 6)).astype(np.float32)
Y = (X[:, :3].sum(1) > X[:, 3:].sum(1)).astype(np.int32)
X_VAL = RANDOM.normal(size=(21, 6)).astype(np.float32)
Y_VAL = (X_VAL[:, :3].sum(1) > X_VAL[:, 3:].sum(1)).astype(np.int32)


def mlp(key):
    first, second = jax.random.split(key)
    return {
        "hidden": {"w": 0.4 * jax.random.normal(first, (6, 8)), "b": jnp.zeros(8)},
        "out": {"w": 0.4 * jax.random.normal(second, (8, 2)), "b": jnp.zeros(2)},
    }


def logits(params, x):
    hidden = jnp.tanh(x @ params["hidden"]["w"] + params["hidden"]["b"])
    return hidden @ params["out"]["w"] + params["out"]["b"]


def cross_entropy(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def loss(params, batch):
    x, y = batch
    return cross_entropy(logits(params, x), y)


def noisy(params, batch, key):
    x, y = batch
    if key is not None:
        x = x + 0.1 * jax.random.normal(key, x.shape)
    return cross_entropy(logits(params, x), y)


def error_rate(params, batch):
    x, y = batch
    return jnp.mean(logits(params, x).argmax(1) != y)


def accuracy(params, batch):
    return 1.0 - error_rate(params, batch)


def half(key):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), mlp(key))


def conv(key):
    return {"kernel": 0.5 * jax.random.normal(key, (3, 1, 4)), "out": 0.5 * jax.random.normal(key, (4, 2))}


def conv_loss(params, batch):
    x, y = batch
    x = jax.lax.conv_general_dilated(
        x[..., None], params["kernel"], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )
    return cross_entropy(jnp.tanh(x).mean(1) @ params["out"], y)


def job(**changes):
    settings = {
        "init": mlp,
        "loss": loss,
        "train": (X, Y),
        "val": (X_VAL, Y_VAL),
        "batch_size": 8,
        "optimizer": "adam",
        "total_steps": 40,
    }
    return JaxJob(**{**settings, **changes})


def by_label(rate):
    """Return an optimizer with a tenth of the rate for the first layer."""
    return optax.multi_transform(
        {"hidden": optax.sgd(0.1 * rate, momentum=0.9), "out": optax.adam(rate)}, {"hidden": "hidden", "out": "out"}
    )


JOBS = {
    "default": {"val_batch_size": 8},  # 5 are left over
    "a name with settings": {"optimizer": "sgd_nesterov"},
    "noise": {"loss": noisy},
    "convolutions": {"init": conv, "loss": conv_loss},
    "metric to raise": {"loss": noisy, "metric": accuracy, "goal": "max"},
    "a dict": {
        "train": {"x": X, "y": Y},
        "val": {"x": X_VAL, "y": Y_VAL},
        "loss": lambda params, batch: loss(params, (batch["x"], batch["y"])),
    },
    "one array": {"train": jnp.asarray(X), "val": X_VAL, "loss": lambda params, x: jnp.mean(logits(params, x) ** 2)},
    "bfloat16": {"init": half, "optimizer": partial(surefoot.optax.adamw, weight_decay=0.1)},
    "labels": {"optimizer": by_label},
    "rate in the state": {"optimizer": optax.inject_hyperparams(optax.adamw)},
    "a key in the state": {"optimizer": lambda rate: optax.noisy_sgd(rate, 0.01, 0.5, key=jax.random.key(5))},
    "parameters in the state": {"optimizer": optax.contrib.schedule_free_sgd},
    "reads the loss": {"optimizer": lambda rate: optax.chain(optax.adam(rate), optax.contrib.reduce_on_plateau())},
}
