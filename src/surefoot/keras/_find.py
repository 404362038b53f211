"""find: the learning rate of a compiled Keras model, in one call, and the model is left as it was."""

# Keras has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import keras
from surefoot import search
from surefoot._checks import refuse_type
from surefoot.keras._job import KerasJob
from surefoot.schedules import Schedule
from surefoot.search import Found, Progress


def find(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    validation_data: Any = None,
    validation_split: float = 0.0,
    sample_weight: Any = None,
    epochs: int | None = None,
    total_steps: int | None = None,
    batch_size: int = 32,
    schedule: Schedule | None = None,
    metric: str | None = None,
    goal: Literal["min", "max"] | None = None,
    budget: float = 1.0,
    seed: int = 0,
    learning_rate: float | None = None,
    bounds: tuple[float, float] | None = None,
    run_dir: str | Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Found:
    """Find the peak learning rate for a compiled model, for about the price of one `fit`.

    Use it before the `fit` that matters, with the same data, batch size and epochs. Every trial starts from the model's
    present weights, which is what a fine-tune needs, with a new optimizer of the same settings. Afterwards the model
    is as it was: weights, optimizer, metrics, seeds, and the global random states too. A model without weights yet is
    built first, as `fit` would do it. To average over initial weights or to go on from a stopped search in another
    process, use a `KerasJob` with a function that builds the model, and `surefoot.find`.

    The rate is the peak of `schedule`; train with both. `found.train()` trains the real run from where the search has
    left it, and `found.train().run.write_to(model)` gives its weights to the model.

    Args:
        model: a compiled model; its optimizer has a number as learning rate.
        x: inputs, as for `KerasJob`.
        y: targets.
        validation_data: (x_val, y_val), or a dataset.
        validation_split: instead, the share at the end of the data that is held out.
        sample_weight: a weight for each sample.
        epochs: passes over the training data of the real run.
        total_steps: instead, its optimizer steps.
        batch_size: samples per batch.
        schedule: the schedule of the real run; default `linear_warmup("5%") >> cosine_decay()`.
        metric: the name of a compiled metric to judge by instead of the loss.
        goal: "min" or "max"; default what Keras knows of the metric.
        budget: training steps to spend on top of the real run, in run equivalents.
        seed: decides data order and dropout of every trial; the same seed gives the same answer.
        learning_rate: where to start; default the optimizer's own.
        bounds: (low, high): rates outside are never tried.
        run_dir: a folder for the log and checkpoints.
        on_progress: called with a `Progress` every few steps.

    Returns:
        The answer, as from `surefoot.find`.

    Raises:
        ArgumentError: a value is not allowed.
        ArgumentTypeError: a type is not allowed.
        JobError: training breaks before it learns, or learns nothing at any rate.

    Example:
        >>> import keras, numpy as np
        >>> from surefoot.keras import find
        >>> x = np.linspace(-1, 1, 128)[:, None]
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile(optimizer="sgd", loss="mse")
        >>> found = find(model, x, 2 * x, validation_split=0.25, epochs=10, batch_size=12, budget=0.5)
        >>> 0.01 < found.learning_rate < 10
        True

    .. versionadded:: 0.1.0
    """
    if not isinstance(model, keras.Model):
        cure = "For a function that builds one, use surefoot.find(KerasJob(build, ...))."
        raise refuse_type("find", "model", model, "a compiled keras.Model", cure)
    job = KerasJob(
        model,
        x,
        y,
        validation_data=validation_data,
        validation_split=validation_split,
        sample_weight=sample_weight,
        epochs=epochs,
        total_steps=total_steps,
        batch_size=batch_size,
        schedule=schedule,
        metric=metric,
        goal=goal,
    )
    with job.lent():
        return search.find(
            job,
            budget=budget,
            seed=seed,
            learning_rate=learning_rate,
            bounds=bounds,
            run_dir=run_dir,
            on_progress=on_progress,
        )
