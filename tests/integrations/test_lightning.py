"""The callback for Lightning."""

import math

import pytest

import torch
from surefoot import ArgumentError, ArgumentTypeError
from surefoot.control import Chain, DivergenceGuard, Manual, Plateau
from surefoot.schedules import cosine_decay, linear_warmup

lightning = pytest.importorskip("lightning.pytorch")
from lightning.pytorch.loggers.logger import Logger  # noqa: E402

from surefoot.integrations.lightning import LearningRateCallback  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
SCHEDULE = linear_warmup("25%") >> cosine_decay(to=0.1)


class Module(lightning.LightningModule):
    def __init__(self, optimizers=1, scheduler=False, val_losses=()):
        super().__init__()
        self.line = torch.nn.Linear(2, 1)
        self.optimizers_count, self.has_scheduler, self.val_losses = optimizers, scheduler, val_losses
        self.used, self.losses = [], []

    def training_step(self, batch, _):
        loss = self.line(batch[0]).square().mean()
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", self.val_losses[min(self.current_epoch, len(self.val_losses) - 1)])

    def configure_optimizers(self):
        optimizers = [torch.optim.SGD(self.parameters(), lr=0.01) for _ in range(self.optimizers_count)]
        if not self.has_scheduler:
            return optimizers if len(optimizers) > 1 else optimizers[0]
        return optimizers, [torch.optim.lr_scheduler.ConstantLR(optimizers[0])]

    def on_before_optimizer_step(self, optimizer):
        self.used.append(optimizer.param_groups[0]["lr"])


class Record(Logger):
    def __init__(self):
        super().__init__()
        self.logged = []

    name, version = "record", 0

    def log_hyperparams(self, params, *args, **kwargs):
        pass

    def log_metrics(self, metrics, step=None):
        self.logged.append((step, dict(metrics)))


def fit(module, callbacks, path, *, epochs=2, is_validated=True, ckpt_path=None, logger=False, batches=8, **settings):
    torch.manual_seed(0)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(2 * batches, 2)), batch_size=2)
    trainer = lightning.Trainer(
        max_epochs=epochs, accumulate_grad_batches=2, logger=logger, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, default_root_dir=path, callbacks=callbacks, log_every_n_steps=1,
        enable_checkpointing=settings.pop("enable_checkpointing", False), **settings,
    )  # fmt: skip
    trainer.fit(module, loader, loader if is_validated and module.val_losses else None, ckpt_path=ckpt_path)
    return trainer


def test_the_rates_are_those_of_the_schedule_over_the_trainers_updates(tmp_path):
    module, callback = Module(), LearningRateCallback(SCHEDULE)
    fit(module, [callback], tmp_path)
    known = SCHEDULE.resolve(8)
    assert module.used == [0.01 * known(t) for t in range(8)]
    assert callback.learning_rate.step_count == 8


def test_a_plateau_reads_each_validation_once_and_the_sanity_check_never(tmp_path):
    plateau = Plateau("val_loss", patience=2, factor=0.5)
    module = Module(val_losses=[1.0, 1.0, 1.0, 1.0])
    callback = LearningRateCallback(SCHEDULE, [plateau])
    fit(module, [callback], tmp_path, epochs=4, num_sanity_val_steps=2)
    assert [change.step for change in callback.learning_rate.changes] == [12]  # after the third of four epochs
    known = SCHEDULE.resolve(16)
    assert module.used == [0.01 * known(t) * (1.0 if t < 12 else 0.5) for t in range(16)]


def test_the_loss_is_the_mean_over_the_accumulated_batches(tmp_path):
    seen = []

    class Look(Manual):
        def observe(self, reading):
            if "loss" in reading.metrics:
                seen.append(reading.metrics["loss"])

    module = Module()
    fit(module, [LearningRateCallback(SCHEDULE, [Look()])], tmp_path)
    pairs = list(zip(module.losses[::2], module.losses[1::2], strict=True))
    assert seen == pytest.approx([(a + b) / 2 for a, b in pairs])


def test_without_validation_the_metrics_of_an_epoch_are_read_at_its_end(tmp_path):
    class Logs(Module):
        def training_step(self, batch, index):
            loss = super().training_step(batch, index)
            self.log("train_loss", 1.0, on_epoch=True, on_step=False)
            return loss

    callback = LearningRateCallback(SCHEDULE, [Plateau("train_loss", patience=1, factor=0.5)])
    fit(Logs(), [callback], tmp_path, epochs=3)
    assert [change.step for change in callback.learning_rate.changes] == [8, 12]


def test_a_controller_stops_the_trainer(tmp_path):
    plateau = Plateau("val_loss", patience=1, stop_after=1)
    trainer = fit(Module(val_losses=[1.0]), [LearningRateCallback(SCHEDULE, [plateau])], tmp_path, epochs=9)
    assert trainer.current_epoch == 3


def test_rates_and_factors_go_to_the_trainers_loggers(tmp_path):
    logger, plateau = Record(), Plateau("val_loss", patience=1, factor=0.5)
    module = Module(val_losses=[1.0])
    fit(module, [LearningRateCallback(SCHEDULE, [plateau])], tmp_path, logger=logger)
    rates = [(step, m["learning_rate"]) for step, m in logger.logged if "learning_rate" in m]
    assert rates == list(enumerate(module.used))
    assert [m["learning_rate_factor"] for _, m in logger.logged if "learning_rate" in m] == [1.0] * 8


def test_a_run_resumed_at_any_step_has_the_rates_of_one_that_never_stopped(tmp_path):
    def parts():
        return Module(val_losses=[1.0]), LearningRateCallback(SCHEDULE, [Plateau("val_loss", patience=1, factor=0.5)])

    whole, callback = parts()
    within = lightning.callbacks.ModelCheckpoint(tmp_path, "within-{step}", every_n_train_steps=1, save_top_k=-1)
    after = lightning.callbacks.ModelCheckpoint(tmp_path, "after-{step}", every_n_epochs=1, save_top_k=-1)
    fit(whole, [within, after, callback], tmp_path, epochs=3, enable_checkpointing=True)
    for step in range(1, 12):
        module, resumed = parts()
        # Lightning never makes up for the validation of an epoch that was saved after its last update.
        name = f"{'within' if step % 4 else 'after'}-step={step}.ckpt"
        fit(module, [resumed], tmp_path, epochs=3, ckpt_path=tmp_path / name)
        assert module.used == whole.used[step:], step
        assert resumed.learning_rate.why() == callback.learning_rate.why()


def test_a_second_fit_is_a_new_run(tmp_path):
    plateau = Plateau("val_loss", patience=1, factor=0.5)
    callback = LearningRateCallback(SCHEDULE, [plateau])
    one, two = Module(val_losses=[1.0]), Module(val_losses=[1.0])
    fit(one, [callback], tmp_path, epochs=3)
    fit(two, [callback], tmp_path, epochs=3)
    assert one.used == two.used


def test_a_nan_loss_is_a_reading(tmp_path):
    class Broken(Module):
        def training_step(self, batch, index):
            return super().training_step(batch, index) * math.nan

    callback = LearningRateCallback(SCHEDULE, [DivergenceGuard(action="stop")])
    trainer = fit(Broken(), [callback], tmp_path)
    assert trainer.should_stop
    assert trainer.global_step < 8


def test_each_parameter_group_has_its_rate_in_the_log(tmp_path):
    class Groups(Module):
        def configure_optimizers(self):
            return torch.optim.SGD([{"params": [self.line.weight], "lr": 0.5}, {"params": [self.line.bias]}], lr=0.25)

    logger = Record()
    fit(Groups(), [LearningRateCallback(SCHEDULE)], tmp_path, logger=logger, epochs=1)
    known = SCHEDULE.resolve(4)
    rates = [m for _, m in logger.logged if "learning_rate_0" in m]
    assert rates == [{"learning_rate_0": 0.5 * known(t), "learning_rate_1": 0.25 * known(t)} for t in range(4)]


def test_a_fit_without_an_end_needs_the_number_of_steps(tmp_path):
    with pytest.raises(ArgumentError, match="the trainer knows no end"):
        fit(Module(), [LearningRateCallback(SCHEDULE)], tmp_path, epochs=-1)


@pytest.mark.parametrize(
    ("module", "message"),
    [({"optimizers": 2}, "optimizers must be one"), ({"scheduler": True}, "the callback owns the rate")],
)
def test_what_would_be_written_twice_or_not_at_all_is_refused(tmp_path, module, message):
    made = Module(**module)
    if made.optimizers_count > 1:
        made.automatic_optimization = False
    with pytest.raises(ArgumentError, match=message):
        fit(made, [LearningRateCallback(SCHEDULE)], tmp_path) if made.automatic_optimization else lightning.Trainer(
            max_epochs=1, logger=False, accelerator="cpu", enable_checkpointing=False, default_root_dir=tmp_path,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[LearningRateCallback(SCHEDULE)],
        ).fit(made, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 2))))  # fmt: skip


def test_epochs_are_those_of_the_data_also_where_the_steps_are_given(tmp_path):
    module = Module()
    fit(module, [LearningRateCallback(linear_warmup("1 epochs") >> cosine_decay())], tmp_path, max_steps=6)
    known = (linear_warmup(4) >> cosine_decay()).resolve(6)  # an epoch has 4
    assert module.used == [0.01 * known(t) for t in range(6)]


def test_arguments_are_checked_at_construction():
    with pytest.raises(ArgumentTypeError, match="schedule must be a schedule"):
        LearningRateCallback(0.1)
    with pytest.raises(ArgumentError, match="total_steps"):
        LearningRateCallback(SCHEDULE, total_steps=0)
    for skips in (DivergenceGuard(action="skip"), Chain(Plateau(), DivergenceGuard(action="skip"))):
        with pytest.raises(ArgumentError, match="do not skip updates"):
            LearningRateCallback(SCHEDULE, [skips])
    with pytest.raises(ArgumentTypeError, match="a list of controllers"):
        LearningRateCallback(SCHEDULE, [1])
