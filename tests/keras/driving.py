"""How these tests drive an optimizer by hand, as a training loop of each backend would."""

import numpy as np

import keras
from keras import ops


def variables(*arrays, dtype="float32"):
    return [keras.Variable(np.asarray(a), dtype=dtype, name=f"w{i}") for i, a in enumerate(arrays)]


def path_of(optimizer, starts, grads, rates=None, dtype="float32", *, is_compiled=True):
    """Return all weights after each step, one row a step.

    Args:
        optimizer: not yet built.
        starts: one array a variable.
        grads: for each step, one array a variable.
        rates: for each step the learning rate; None leaves it alone.
        dtype: of the variables.
        is_compiled: on JAX and TensorFlow; what runs eagerly is faster for a few steps.
    """
    mine = variables(*starts, dtype=dtype)
    optimizer.build(mine)
    walk = _jitted if keras.backend.backend() == "jax" and is_compiled else _stateful
    rows = walk(optimizer, mine, [[np.asarray(a, dtype) for a in row] for row in grads], rates, is_compiled)
    return np.array([np.concatenate([np.ravel(np.asarray(v, "float64")) for v in row]) for row in rows])


def _stateful(optimizer, mine, grads, rates, is_compiled):
    def update(g):
        optimizer.apply(g, mine)

    if keras.backend.backend() == "tensorflow" and is_compiled:
        import tensorflow as tf

        update = tf.function(update)
    for i, row in enumerate(grads):
        if rates is not None:
            optimizer.learning_rate = rates[i]
        update([ops.convert_to_tensor(g) for g in row])
        yield [np.array(ops.convert_to_numpy(v)) for v in mine]


def _jitted(optimizer, mine, grads, rates, is_compiled):
    import jax

    assert is_compiled

    apply = jax.jit(optimizer.stateless_apply)
    state, values = [v.value for v in optimizer.variables], [v.value for v in mine]
    rate = next((i for i, v in enumerate(optimizer.variables) if v is optimizer._learning_rate), None)
    for i, row in enumerate(grads):
        if rates is not None:
            state[rate] = jax.numpy.asarray(rates[i], state[rate].dtype)
        values, state = apply(state, [jax.numpy.asarray(g) for g in row], values)
        yield [np.asarray(v) for v in values]


def same(ours, theirs, relative, nothing=0.0):
    """Assert that each weight differs at every step by at most so much of the largest value it has had so far."""
    assert np.isfinite(theirs).all(), "the reference itself broke"
    scale = np.maximum.accumulate(np.abs(theirs), axis=0)
    bad = np.argwhere(~(np.abs(ours - theirs) <= relative * scale + nothing))
    assert not len(bad), f"{len(bad)}, first at {bad[0]}: {ours[tuple(bad[0])]} {theirs[tuple(bad[0])]}"
