"""A user's loss and metric: how they are called, and what they must be for JAX to trace them."""

# JAX's own types are partial:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from surefoot._checks import refuse_type
from surefoot.optax._named import name_of


def called(loss: Callable[..., Any]) -> Callable[[Any, Any, Any], Any]:
    """Return the loss as a function of parameters, batch and key, whether it takes a key or not."""
    try:
        parameters = inspect.signature(loss).parameters
    except (TypeError, ValueError):  # some callables have none
        return _without_key(loss)
    by_place = [p for p in parameters.values() if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    needed = sum(p.default is p.empty for p in by_place)
    if needed == 3:
        return loss
    if "key" in parameters and needed <= 2:
        return lambda params, batch, key: loss(params, batch, key=key)
    if needed <= 2 <= len(by_place) or any(p.kind is p.VAR_POSITIONAL for p in parameters.values()):
        return _without_key(loss)
    raise refuse_type("JaxJob", "loss", loss, "a function loss(params, batch) or loss(params, batch, key)")


def _without_key(loss: Callable[..., Any]) -> Callable[[Any, Any, Any], Any]:
    def call(params: Any, batch: Any, key: Any) -> Any:
        del key
        return loss(params, batch)

    return call


def traced(argument: str, given: Callable[..., Any], function: Callable[..., Any], *arguments: Any) -> str:
    """Return the program of a function that returns one number, or say what to do about one that does not."""
    try:
        program, out = jax.make_jaxpr(function, return_shape=True)(*arguments)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        cure = "Use jax.numpy, and leave out float(), .item(), NumPy, and `if` on values."
        raise refuse_type("JaxJob", argument, name_of(given), "a function that JAX can trace", cure) from error
    shape = getattr(out, "shape", None)
    if shape == () and (argument == "metric" or jnp.issubdtype(out.dtype, jnp.floating)):
        return str(program)
    if shape is None:
        got, cure = f"a {type(out).__name__}", "Return the loss alone; does it end with `return`?"
    elif shape:
        got, cure = f"an array of shape {shape}", "Take the mean over the batch."
    else:
        got, cure = f"a number of type {out.dtype}", "Return what can be differentiated."
    raise refuse_type("JaxJob", argument, f"it returned {got}", "a function that returns one number per batch", cure)
