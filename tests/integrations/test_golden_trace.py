"""One scripted run has the same learning rate at each update through every framework: bit for bit, as Python's floats.

24 updates in 4 epochs, each of two accumulated batches; a warm-up into a cosine; an edit by hand after the second epoch,
and a plateau that acts after the third. Where the framework scales losses, each epoch has one more update that overflows
and is skipped. What a float32 variable holds is compared as the rounded rate, exactly.
"""

import json
import math
import os
from functools import cache

import numpy as np
import pytest

import torch
from surefoot.control import Manual, Plateau
from surefoot.schedules import cosine_decay, linear_warmup
from surefoot.torch import drive

EPOCHS, EACH, TOTAL = 4, 6, 24
BASE = float(np.float32(0.1))  # what a float32 variable holds exactly, and no power of 2
SCHEDULE = linear_warmup("25%") >> cosine_decay(to=0.1)
VAL_LOSSES = (1.0, 0.5, 0.5, 0.5)  # the second is the best
SKIPPED = 3  # of each epoch's updates


class Edit(Manual):
    """Somebody who sets the rate to three quarters while the second epoch is evaluated."""

    def observe(self, reading):
        if reading.step == 12 and "val_loss" in reading.metrics:
            self.set(0.75, cause="by the script")
        return super().observe(reading)


def controllers():
    return [Plateau("val_loss", patience=1, factor=0.5), Edit()]


def factor_at(step):
    return 1.0 if step < 12 else 0.75 if step < 18 else 0.375


TRACE = [BASE * (SCHEDULE.resolve(TOTAL)(t) * factor_at(t)) for t in range(TOTAL)]
IN_FLOAT32 = [float(np.float32(rate)) for rate in TRACE]


def test_the_trace_is_the_formula():
    def factor(t):
        return t / 6 if t < 6 else 0.1 + 0.9 * (1.0 + math.cos(math.pi * (t - 6) / 18)) / 2

    assert pytest.approx([BASE * factor(t) * factor_at(t) for t in range(TOTAL)], rel=1e-12) == TRACE


def torch_run(start=0, stop=EPOCHS * (EACH + 1), kept=None, lr=BASE, backend=None):
    """Make the updates from `start` to `stop`, one of which overflows each epoch; return their rates, and what to keep."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=lr, foreach=False)
    rate = drive(optimizer, SCHEDULE, total_steps=TOTAL, controllers=controllers())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    if kept:
        optimizer.load_state_dict(kept["optimizer"])
        rate.load_state_dict(json.loads(kept["rate"]))
    if backend is not None:
        compiled = torch.compile(optimizer.step, backend=backend)
    used = []
    for update in range(start, stop):
        epoch, index = divmod(update, EACH + 1)
        is_skipped = index == SKIPPED
        if not is_skipped:
            used.append(float(optimizer.param_groups[0]["lr"]))
        for _ in range(2):
            loss = weight.sum() * (math.inf if is_skipped else 0.5)
            scaler.scale(loss).backward() if backend is None else (loss * 1.0).backward()
            rate.step(loss=loss)
        if backend is None:
            scaler.step(optimizer)
            scaler.update()
        elif not is_skipped:
            compiled()
        optimizer.zero_grad()
        rate.step()
        if index == EACH:
            rate.observe(val_loss=torch.tensor(VAL_LOSSES[epoch]))
    return used, {"optimizer": optimizer.state_dict(), "rate": json.dumps(rate.state_dict())}


def test_through_torch():
    assert torch_run()[0] == TRACE


def test_through_torch_killed_and_resumed_at_every_update():
    for stop in range(1, EPOCHS * (EACH + 1)):
        first, kept = torch_run(stop=stop)
        second, _ = torch_run(start=stop, kept=kept)
        assert first + second == TRACE, stop


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_through_torch_with_a_compiled_step(dtype):
    used, _ = torch_run(lr=torch.tensor(BASE, dtype=dtype), backend="eager")
    assert used == (TRACE if dtype == torch.float64 else IN_FLOAT32)


@pytest.mark.filterwarnings("ignore")  # theirs
def test_through_lightning(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")
    from surefoot.integrations.lightning import LearningRateCallback

    used = []

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(1, 1)

        def training_step(self, batch, _):
            return self.line(batch[0]).square().mean()

        def validation_step(self, batch, _):
            self.log("val_loss", VAL_LOSSES[self.current_epoch])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=BASE)

        def on_before_optimizer_step(self, optimizer):
            used.append(optimizer.param_groups[0]["lr"])

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(2 * EACH, 1)))
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, accumulate_grad_batches=2, logger=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path, log_every_n_steps=1,
        limit_val_batches=1, callbacks=[LearningRateCallback(SCHEDULE, controllers())],
    )  # fmt: skip
    trainer.fit(Module(), loader, loader)
    assert used == TRACE


@pytest.mark.filterwarnings("ignore")  # theirs
def test_through_the_trainer_of_transformers(tmp_path):
    pytest.importorskip("accelerate")
    transformers = pytest.importorskip("transformers")
    from surefoot.integrations.transformers import LearningRateCallback

    val_losses = iter(VAL_LOSSES)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(1, 1)

        def forward(self, x, labels=None):
            y = self.line(x)
            loss = (y - labels).square().mean()
            return {"loss": loss if self.training else torch.tensor(next(val_losses)), "logits": y}

    data = [{"x": torch.ones(1), "labels": torch.zeros(1)} for _ in range(2 * EACH)]
    arguments = transformers.TrainingArguments(
        str(tmp_path), per_device_train_batch_size=1, gradient_accumulation_steps=2, num_train_epochs=EPOCHS,
        logging_steps=1, report_to=[], save_strategy="no", use_cpu=True, eval_strategy="epoch", learning_rate=BASE,
        optim="sgd", disable_tqdm=True,
    )  # fmt: skip
    trainer = transformers.Trainer(
        Net(), arguments, train_dataset=data, eval_dataset=data[:1],
        callbacks=[LearningRateCallback(SCHEDULE, controllers())],
    )  # fmt: skip
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    assert [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry] == TRACE


@cache
def optax_parts():
    import jax

    import surefoot.optax as ours

    optimizer = ours.sgd(1.0)
    return optimizer, jax.jit(optimizer.update)  # compiled once for all runs


def optax_run(start=0, stop=TOTAL, kept=None):
    import jax
    import jax.numpy as jnp

    import surefoot.optax as ours

    optimizer, update_of = optax_parts()
    lr = ours.OptaxLearningRate(BASE, SCHEDULE, TOTAL, controllers=controllers())
    state = optimizer.init(jnp.ones(1))
    if kept:
        leaves, rate = json.loads(kept)
        state = jax.tree.unflatten(jax.tree.structure(state), [jnp.asarray(leaf) for leaf in leaves])
        lr.load_state_dict(rate)
    state, used = lr.write(state), []
    for update in range(start, stop):
        epoch, index = divmod(update, EACH)
        used.append((lr.learning_rate, state.learning_rate.item()))
        for _ in range(2):  # accumulated elsewhere: no update, only a reading
            state = lr.observe(state, loss=jnp.asarray(0.5))
        _, state = update_of(jnp.ones(1), state)
        state = lr.step(state)
        if index == EACH - 1:
            state = lr.observe(state, val_loss=jnp.asarray(VAL_LOSSES[epoch]))
    return used, json.dumps([[leaf.item() for leaf in jax.tree.leaves(state)], lr.state_dict()])


def test_through_optax():
    pytest.importorskip("optax")
    used, _ = optax_run()
    assert used == list(zip(TRACE, IN_FLOAT32, strict=True))


def test_through_optax_killed_and_resumed_at_every_update():
    pytest.importorskip("optax")
    for stop in range(1, TOTAL):
        first, kept = optax_run(stop=stop)
        second, _ = optax_run(start=stop, kept=kept)
        assert [rate for rate, _ in first + second] == TRACE, stop


@pytest.mark.parametrize("is_scaled", [False, True], ids=["plain", "with skipped updates"])
def test_through_keras(is_scaled):
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    import surefoot.keras as ours

    class Validation(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = VAL_LOSSES[epoch]

    each = EACH + is_scaled
    x = np.ones((2 * each, 1), "float32")
    if is_scaled:
        x[2 * SKIPPED : 2 * SKIPPED + 2] = np.inf
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    optimizer = ours.SGD(BASE, gradient_accumulation_steps=2)
    model.compile(keras.optimizers.LossScaleOptimizer(optimizer) if is_scaled else optimizer, "mse")
    control = ours.LearningRateControl(SCHEDULE, controllers(), total_steps=TOTAL)
    log = model.fit(
        x, np.ones((2 * each, 1)), batch_size=1, epochs=EPOCHS, shuffle=False, verbose=0,
        callbacks=[Validation(), control],
    )  # fmt: skip
    steps, rates = zip(*control.history, strict=True)
    assert steps == tuple(range(TOTAL))
    assert list(rates) == TRACE
    assert log.history["learning_rate"] == IN_FLOAT32[EACH - 1 :: EACH]
