"""What a learning-rate callback adds to the training of a small Keras model.

    KERAS_BACKEND=jax python benchmarks/keras_callbacks.py [--rounds 41]     (or torch, or tensorflow)

Fits of a few epochs of 300 batches are made again and again, the arms of a group in an order that is drawn anew in each
round. Callbacks per epoch take turns on *one* model, so that the arms differ in nothing else; a schedule per step is
another compiled step, so each of its arms has three models of its own, and so has its base. The first rounds compile,
and do not count. Shown is the median of the ratio to no callback, round by round, with a 95 % interval (bootstrap), and
beside it the same for a second arm without any callback: what this machine cannot tell apart.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np

import keras
import surefoot as sf
import surefoot.keras as ours

RECORDS = Path(__file__).parent / "records"
BATCHES, RUN = 300, 1_000_000  # a plan is longer than the fits, which go on from epoch to epoch
REPLICAS = 3  # of a compiled step: where its buffers lie makes a difference, too


class EachBatch(keras.callbacks.Callback):
    """A schedule per step as people write it today: the rate is set before each batch."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self.model.optimizer.learning_rate = 0.001 / (1 + 1e-9 * batch)


@dataclass
class Arm:
    """Some callbacks, the models that are fitted with them, and microseconds per step, round by round."""

    callbacks: list[list[Any]]
    models: list[Any]
    us: list[float] = field(default_factory=list[float])
    epoch: int = 0

    def fit(self, x: Any, y: Any, epochs: int) -> float:
        began = time.perf_counter()
        for model, callbacks in zip(self.models, self.callbacks, strict=True):
            model.fit(
                x,
                y,
                batch_size=32,
                epochs=self.epoch + epochs,
                initial_epoch=self.epoch,
                verbose=0,
                shuffle=False,
                callbacks=callbacks,
            )
        self.epoch += epochs
        return 1e6 * (time.perf_counter() - began) / (BATCHES * epochs * len(self.models))


def model() -> Any:
    keras.utils.set_random_seed(0)
    made = keras.Sequential([keras.Input((32,)), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(1)])
    made.compile(ours.Adam(), "mse")
    return made


def by_epoch(epoch: int) -> float:
    return 0.001 / (1 + 1e-6 * epoch)


def groups() -> dict[str, dict[str, Arm]]:
    one = model()
    per_epoch = {
        "no callback": [],
        "no callback, again": [],
        "LearningRateControl": [
            ours.LearningRateControl(sf.linear_warmup(2) >> sf.cosine_decay(RUN), [sf.Plateau("loss")], per="epoch")
        ],
        "LearningRateScheduler": [ours.LearningRateScheduler(by_epoch)],
        "ReduceLROnPlateau": [ours.ReduceLROnPlateau("loss", patience=RUN)],
        "Keras' LearningRateScheduler": [keras.callbacks.LearningRateScheduler(by_epoch)],
        "Keras' ReduceLROnPlateau": [keras.callbacks.ReduceLROnPlateau("loss", patience=RUN)],
    }
    plan = sf.linear_warmup(100) >> sf.cosine_decay(BATCHES * RUN)
    per_step = {
        "no callback": list,
        "no callback, again": list,
        "LearningRateControl": lambda: [ours.LearningRateControl(plan)],
        "set before each batch": lambda: [EachBatch()],
    }
    return {
        "per epoch": {name: Arm([callbacks], [one]) for name, callbacks in per_epoch.items()},
        "per step": {
            name: Arm([make() for _ in range(REPLICAS)], [model() for _ in range(REPLICAS)])
            for name, make in per_step.items()
        },
    }


def interval(ratios: list[float]) -> tuple[float, float]:
    """Return a 95 % interval of the median."""
    rng = random.Random(0)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[50], medians[1949]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=41)
    arguments.add_argument("--epochs", type=int, default=4, help="epochs of one fit")
    given = arguments.parse_args()
    x = np.random.default_rng(0).normal(size=(BATCHES * 32, 32)).astype("float32")
    y = x[:, :1]
    rows: list[dict[str, Any]] = []
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, microseconds per step")
    for group, arms in groups().items():
        order = list(arms)
        for round_ in range(given.rounds + 1):
            random.Random(round_).shuffle(order)
            for name in order:
                us = arms[name].fit(x, y, given.epochs)
                if round_:
                    arms[name].us.append(us)
        base = arms["no callback"].us
        for name, arm in arms.items():
            ratios = [a / b for a, b in zip(arm.us, base, strict=True)]
            low, high = interval(ratios)
            row = {"group": group, "arm": name, "us": statistics.median(arm.us), "ratio": statistics.median(ratios)}
            rows.append({**row, "low": low, "high": high, "rounds": arm.us})
            print(
                f"  {group:10s}{name:30s}{row['us']:9.1f}   ratio {row['ratio']:.3f} ({low:.3f} to {high:.3f})",
                flush=True,
            )
    today = datetime.now(UTC)
    record = RECORDS / f"{today:%Y-%m-%d}-keras-callbacks-{keras.backend.backend()}.json"
    kept = {"date": f"{today:%Y-%m-%d %H:%M} UTC", "keras": keras.__version__, "rows": rows}
    record.write_text(json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()
