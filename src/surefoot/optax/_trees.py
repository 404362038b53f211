"""Trees of arrays that a run owns: copied, told from others, written to a file and read back."""

# JAX's own types are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def own(tree: Any) -> Any:
    """Return copies that nobody else holds, for the compiled step frees what it is given; of types that are not weak."""
    return jax.tree.map(lambda leaf: jnp.copy(leaf) if _is_key(leaf) else jnp.array(leaf, jnp.result_type(leaf)), tree)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)


def plain(leaf: Any) -> Any:
    """Return an array of a type that NumPy has itself; bfloat16 goes into float32 and back unchanged."""
    array = np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
    return array if array.dtype.kind in "biufc" else array.astype(np.float32)


def from_plain(array: Any, like: Any) -> Any:
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(jnp.zeros((), like.dtype)))
    return jnp.array(array, like.dtype)


def fingerprint(params: Any) -> str:
    """Return a short hash of names, shapes and (roughly) values: enough to tell two jobs apart."""
    parts = [
        f"{jax.tree_util.keystr(path)}:{jnp.shape(leaf)}:{float(np.abs(np.asarray(leaf, np.float64)).sum()):.6e}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    ]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
