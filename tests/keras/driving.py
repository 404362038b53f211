"""How these tests drive an optimizer by hand, as a training loop of each backend would."""

import keras
import numpy as np
from keras import ops


def variables(*arrays, dtype="float32"):
    return [keras.Variable(np.asarray(a), dtype=dtype, name=f"w{i}") for i, a in enumerate(arrays)]


def path_of(optimizer, starts, grads, rates=None, dtype="float32"):
    """Return all weights after each step, one row a step.

    Args:
        optimizer: not yet built.
        starts: one array a variable.
        grads: for each step, one array a variable.
        rates: for each step the learning rate; None leaves it alone.
        dtype: of the variables.
    """
    mine = variables(*starts, dtype=dtype)
    optimizer.build(mine)
    step = _jitted(optimizer, mine) if keras.backend.backend() == "jax" else _stateful(optimizer, mine)
    rows = []
    for i, row in enumerate(grads):
        g = [ops.convert_to_tensor(np.asarray(a, dtype)) for a in row]
        values = step(g, None if rates is None else rates[i])
        rows.append(np.concatenate([np.ravel(np.asarray(v, "float64")) for v in values]))
    return np.array(rows)


def _stateful(optimizer, mine):
    def update(g):
        optimizer.apply(g, mine)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        update = tf.function(update)

    def step(g, rate):
        if rate is not None:
            optimizer.learning_rate = rate
        update(g)
        return [ops.convert_to_numpy(ops.cast(v, "float64")) for v in mine]

    return step


def _jitted(optimizer, mine):
    import jax

    apply = jax.jit(optimizer.stateless_apply)
    kept = [[v.value for v in optimizer.variables], [v.value for v in mine]]
    index = next((i for i, v in enumerate(optimizer.variables) if v is optimizer._learning_rate), None)

    def step(g, rate):
        if rate is not None:
            kept[0][index] = jax.numpy.asarray(rate, kept[0][index].dtype)
        kept[1], kept[0] = apply(kept[0], g, kept[1])
        for pairs in (zip(optimizer.variables, kept[0], strict=True), zip(mine, kept[1], strict=True)):
            for variable, value in pairs:
                variable.assign(value)  # so that the state can be looked at
        return kept[1]

    return step


def same(ours, theirs, relative, nothing=0.0):
    """Assert that each weight differs at every step by at most so much of the largest value it has had so far."""
    assert np.isfinite(theirs).all(), "the reference itself broke"
    scale = np.maximum.accumulate(np.abs(theirs), axis=0)
    bad = np.argwhere(~(np.abs(ours - theirs) <= relative * scale + nothing))
    assert not len(bad), f"{len(bad)}, first at {bad[0]}: {ours[tuple(bad[0])]} {theirs[tuple(bad[0])]}"
