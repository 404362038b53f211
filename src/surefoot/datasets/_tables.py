"""Inputs and targets in rows: the digits and the diabetes data."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Rows of inputs and targets, split for training and validation.

    Attributes:
        x: training inputs, float32, standardised with the mean and deviation of the training rows (of images: of all
            their pixels together).
        y: training targets: int64 classes, or float32 values standardised in the same way.
        x_val: validation inputs.
        y_val: validation targets.
        features: names of the columns of `x`.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    x_val: NDArray[Any]
    y_val: NDArray[Any]
    features: tuple[str, ...]


def digits() -> Table:
    """Return 1,797 handwritten digits, 8x8 pixels each: 1,200 to train on and 597 to validate.

    Source: E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, doi:10.24432/C50P49, licence CC BY 4.0; its test set, as distributed with scikit-learn.

    >>> data = digits()
    >>> data.x.shape, data.x_val.shape, sorted(set(data.y.tolist()))
    ((1200, 64), (597, 64), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])

    .. versionadded:: 0.1.0
    """
    import numpy as np  # noqa: PLC0415 - `import surefoot` loads no numpy

    with (_data() / "digits.npz").open("rb") as file, np.load(file) as stored:
        images, labels = stored["images"], stored["labels"]
    rows = _shuffled(len(images))
    x = images.reshape(len(images), -1)[rows].astype("float64")
    # One mean and deviation for all pixels: pixel by pixel, those at the rim, seldom inked, would shout.
    x = ((x - x[:1200].mean()) / x[:1200].std()).astype("float32")
    y = labels[rows].astype(np.int64)
    features = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))
    return Table(x=x[:1200], y=y[:1200], x_val=x[1200:], y_val=y[1200:], features=features)


def diabetes() -> Table:
    """Return 442 patients with 10 measurements each and the progression of their disease after a year.

    300 to train on and 142 to validate. The target is standardised: a mean squared error of 1 is that of always
    saying the mean. With so few rows a network over-fits, which is the point.

    Source: B. Efron, T. Hastie, I. Johnstone and R. Tibshirani (2004), Least Angle Regression, Annals of Statistics
    32 (2), as distributed with scikit-learn, licence BSD-3-Clause.

    >>> data = diabetes()
    >>> data.x.shape, data.y.shape, data.features[:3]
    ((300, 10), (300, 1), ('age', 'sex', 'bmi'))

    .. versionadded:: 0.1.0
    """
    import numpy as np  # noqa: PLC0415 - as above

    with (_data() / "diabetes.csv").open(encoding="ascii") as file:
        features = tuple(file.readline().strip().split(","))[:-1]
        rows = np.loadtxt(file, delimiter=",")
    rows = rows[_shuffled(len(rows))]
    rows = ((rows - rows[:300].mean(axis=0)) / rows[:300].std(axis=0)).astype("float32")
    x, y = rows[:, :-1], rows[:, -1:]
    return Table(x=x[:300], y=y[:300], x_val=x[300:], y_val=y[300:], features=features)


def _data() -> Traversable:
    return resources.files("surefoot.datasets") / "data"


def _shuffled(count: int) -> NDArray[Any]:
    import numpy as np  # noqa: PLC0415 - as above

    # The legacy generator is the one whose stream never changes between versions of numpy.
    return np.random.RandomState(0).permutation(count)
