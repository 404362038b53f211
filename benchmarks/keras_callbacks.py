"""What a learning-rate callback adds to a training step of a small Keras model.

    KERAS_BACKEND=jax python benchmarks/keras_callbacks.py [--rounds 15]     (or torch, or tensorflow)

One model is fitted again and again, an epoch of 300 batches at a time, without and with each callback; the arms take
turns, and the first round, in which steps are compiled, does not count. Shown are the medians of the time per step and
the ratio to no callback, with the quartiles of the ratio round by round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np

import keras
import surefoot as sf
import surefoot.keras as ours

RECORDS = Path(__file__).parent / "records"
BATCHES, EPOCHS = 300, 1_000_000  # the plan is longer than the fit, which goes on from epoch to epoch


class EachBatch(keras.callbacks.Callback):
    """A schedule per step as people write it today: the rate is set before each batch."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self.model.optimizer.learning_rate = 0.001 / (1 + 1e-9 * batch)


def model(optimizer: Any) -> Any:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((32,)), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(1)]
    made = keras.Sequential(layers)
    made.compile(optimizer, "mse")
    return made


def arms() -> dict[str, tuple[Any, list[Any]]]:
    plan = sf.linear_warmup(100) >> sf.cosine_decay(BATCHES * EPOCHS)
    by_epoch = sf.linear_warmup(2) >> sf.cosine_decay(EPOCHS)
    return {
        "no callback": (model(ours.Adam()), []),
        "LearningRateControl, per step": (model(ours.Adam()), [ours.LearningRateControl(plan)]),
        "LearningRateControl, per epoch": (model(ours.Adam()), [ours.LearningRateControl(by_epoch, per="epoch")]),
        "LearningRateScheduler": (model(ours.Adam()), [ours.LearningRateScheduler(lambda epoch: 0.001 / (1 + epoch))]),
        "ReduceLROnPlateau": (model(ours.Adam()), [ours.ReduceLROnPlateau("loss", patience=EPOCHS)]),
        "no callback, again": (model(ours.Adam()), []),
        "set before each batch": (model(ours.Adam()), [EachBatch()]),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=15)
    given = arguments.parse_args()
    x = np.random.default_rng(0).normal(size=(BATCHES * 32, 32)).astype("float32")
    y = x[:, :1]
    made = arms()
    times: dict[str, list[float]] = {name: [] for name in made}

    def fit(name: str, epoch: int) -> Callable[[], Any]:
        trained, callbacks = made[name]
        return lambda: trained.fit(
            x, y, batch_size=32, epochs=epoch + 1, initial_epoch=epoch, verbose=0, shuffle=False, callbacks=callbacks
        )

    for round_ in range(given.rounds + 1):
        for name in made:
            run = fit(name, round_)
            began = time.perf_counter()
            run()
            if round_:
                times[name].append(1e6 * (time.perf_counter() - began) / BATCHES)
    base = times["no callback"]
    rows: list[dict[str, Any]] = []
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, microseconds per step")
    for name, us in times.items():
        low, mid, high = (
            statistics.quantiles([a / b for a, b in zip(us, base, strict=True)], n=4) if us is not base else (1, 1, 1)
        )
        rows.append(
            {"arm": name, "us": round(statistics.median(us), 2), "ratio": round(mid, 4), "quartiles": [low, high]}
        )
        print(f"  {name:32s}{rows[-1]['us']:9.1f}   ratio {mid:.3f} ({low:.3f} to {high:.3f})", flush=True)
    today = datetime.now(UTC)
    record = RECORDS / f"{today:%Y-%m-%d}-keras-callbacks-{keras.backend.backend()}.json"
    kept = {"date": f"{today:%Y-%m-%d %H:%M} UTC", "keras": keras.__version__, "rows": rows}
    record.write_text(json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()
