"""From a few losses to a belief about where the best learning rate lies. Pure functions; the unit of rates is the octave.

One rung (runs of one length) is modelled as a parabola with its own curvature on either side of its vertex,

    log loss(x) = o + c_left * (v - x)^2   for x < v,      x = log2(learning rate)
                  o + c_right * (x - v)^2  for x >= v

Far from the best the parabola is wrong and nobody cares: the noise of a point grows with its distance from the best
loss. Curvatures have a log-normal prior, measured on fourteen jobs, and are summed over on a grid, so that two points
give an honest, wide belief and seven a narrow one. Everything is a sum over grids: no optimizer, no local minimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CURVATURE = 0.08  # median curvature of log loss, per octave squared
CURVATURE_SPREAD = 1.0  # its standard deviation, in nats
NOISE = 0.02  # standard deviation of log loss near the best: seeds and misfit
MISFIT = 0.5  # growth of that with the distance from the best log loss
CAP = 1.0  # log losses are capped this far above the best

_CURVATURES = np.geomspace(0.01, 0.8, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """What one rung says: log likelihood of its vertex on a grid of rates, and the shape that fits best there.

    Attributes:
        vertices: the grid of x.
        log_likelihood: of each vertex, curvatures summed over.
        curvature_left: expected curvature left of each vertex.
        curvature_right: the same on the right.
        shape: (offset, left curvature, right curvature) that fits best at each vertex, one row a vertex.
    """

    vertices: Array
    log_likelihood: Array
    curvature_left: Array
    curvature_right: Array
    shape: Array

    def curve(self, vertex: float, x: Array) -> Array:
        """Return the best fitting log loss at `x` if the vertex lies at `vertex`."""
        offset, left, right = (float(v) for v in self.shape[int(np.abs(self.vertices - vertex).argmin())])
        curvature: Array = np.where(x < vertex, left, right)
        return offset + curvature * (x - vertex) ** 2


def fit_rung(x: Sequence[float], y: Sequence[float], vertices: Array, *, noise: float = NOISE) -> Rung:
    """Return the likelihood of every vertex on the grid for points (log2 rate, log loss), curvatures summed over.

    >>> grid = np.arange(-4.0, 4.01, 0.05)
    >>> rung = fit_rung([-2.0, -1.0, 0.0, 1.0, 2.0], [0.4, 0.1, 0.0, 0.1, 0.4], grid)
    >>> round(abs(float(grid[rung.log_likelihood.argmax()])), 1)
    0.0
    """
    points, losses = np.asarray(x, float), np.asarray(y, float)
    keep = np.isfinite(losses)
    points, losses = points[keep], losses[keep]
    if not len(points):
        flat = np.zeros_like(vertices)
        c0 = flat + CURVATURE
        shape = np.stack([flat, c0, c0], axis=1)
        return Rung(vertices=vertices, log_likelihood=flat, curvature_left=c0, curvature_right=c0, shape=shape)
    excess = np.minimum(losses - losses.min(), CAP)
    precision = 1.0 / (noise**2 + (MISFIT * excess) ** 2)
    away = points[None, :] - vertices[:, None]
    left, right = np.minimum(away, 0.0) ** 2, np.maximum(away, 0.0) ** 2  # [vertex, point]
    c = _CURVATURES
    rest = excess - (c[:, None, None, None] * left + c[None, :, None, None] * right)  # [c_left, c_right, vertex, point]
    offset = (rest * precision).sum(-1) / precision.sum()  # o, best for each shape
    rest -= offset[..., None]
    log_p = -0.5 * (rest**2 * precision).sum(-1)
    prior = -0.5 * (np.log(c / CURVATURE) / CURVATURE_SPREAD) ** 2
    log_p += prior[:, None, None] + prior[None, :, None]
    top = log_p.max()
    p = np.exp(log_p - top)
    total = p.sum((0, 1)) + 1e-300
    at_left, at_right = np.divmod(log_p.reshape(len(c) ** 2, -1).argmax(0), len(c))
    best_offset = offset[at_left, at_right, np.arange(len(vertices))] + losses.min()
    return Rung(
        vertices=vertices,
        log_likelihood=np.log(total) + top,
        curvature_left=(p.sum(1) * c[:, None]).sum(0) / total,
        curvature_right=(p.sum(0) * c[:, None]).sum(0) / total,
        shape=np.stack([best_offset, c[at_left], c[at_right]], axis=1),
    )


def normal(x: Array, mean: float, sd: float) -> Array:
    """Return the normal density, not normalized."""
    return np.exp(-0.5 * ((x - mean) / sd) ** 2)


def quantile(grid: Array, p: Array, q: float) -> float:
    """Return the q-quantile of a density on an even grid, between grid points."""
    cumulative = np.cumsum(p) / p.sum()
    return float(np.interp(q, cumulative, grid))
