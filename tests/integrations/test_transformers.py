"""The callback for transformers' Trainer."""

import logging

import pytest

import torch
from surefoot import ArgumentError, ArgumentTypeError
from surefoot.control import Chain, DivergenceGuard, Plateau
from surefoot.schedules import cosine_decay, linear_decay, linear_warmup
from surefoot.torch import drive

pytest.importorskip("accelerate")
transformers = pytest.importorskip("transformers")
from surefoot.integrations.transformers import LearningRateCallback  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
SCHEDULE = linear_warmup("25%") >> cosine_decay(to=0.1)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(2, 1)

    def forward(self, x, labels=None):
        y = self.line(x)
        return {"loss": (y - labels).square().mean(), "logits": y}


class Used(transformers.TrainerCallback):
    """The rates of the updates, as the optimizer has them."""

    def __init__(self):
        self.rates = []

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        self.rates.append(optimizer.param_groups[0]["lr"])


def train(callback, path, *, resume=None, saves=False, optimizers=(None, None), evaluations=True, **settings):
    torch.manual_seed(0)
    data = [{"x": torch.ones(2) * (i % 3), "labels": torch.ones(1)} for i in range(16)]
    arguments = transformers.TrainingArguments(
        str(path), per_device_train_batch_size=2, gradient_accumulation_steps=2, num_train_epochs=2, logging_steps=1,
        report_to=[], use_cpu=True, learning_rate=0.01, optim="sgd", disable_tqdm=True,
        eval_strategy="epoch" if evaluations else "no", **{"save_strategy": "no", **settings},
    )  # fmt: skip
    used = Used()

    class Save(transformers.TrainerCallback):  # the trainer itself saves at steps or at ends of epochs
        def on_step_end(self, args, state, control, **kwargs):
            control.should_save = saves

        on_epoch_end = on_step_end

    trainer = transformers.Trainer(
        Net(), arguments, train_dataset=data, eval_dataset=data[:4], callbacks=[callback, used, Save()],
        optimizers=optimizers,
    )  # fmt: skip
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train(resume_from_checkpoint=resume)
    return trainer, used.rates


def logged(trainer):
    return [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]


@pytest.mark.parametrize("kind", ["linear", "reduce_lr_on_plateau"])
def test_the_rates_are_those_of_the_schedule_whatever_scheduler_the_trainer_makes(tmp_path, kind):
    callback = LearningRateCallback(SCHEDULE)
    trainer, used = train(callback, tmp_path, lr_scheduler_type=kind)
    known = SCHEDULE.resolve(8)
    assert used == [0.01 * known(t) for t in range(8)]
    assert logged(trainer) == used
    assert callback.learning_rate.step_count == 8


def test_a_plateau_reads_each_evaluation_once(tmp_path, caplog):
    class Flat(Plateau):
        def is_gain(self, value):
            return False

    callback = LearningRateCallback(SCHEDULE, [Flat("eval_loss", patience=1, factor=0.5)])
    with caplog.at_level(logging.INFO, "surefoot"):
        trainer, used = train(callback, tmp_path)
    known = SCHEDULE.resolve(8)
    assert used == [0.01 * known(t) * (1.0 if t < 4 else 0.5) for t in range(8)]
    assert [change.step for change in callback.learning_rate.changes] == [4, 8]
    said = [e["learning_rate_decision"] for e in trainer.state.log_history if "learning_rate_decision" in e]
    assert said == [str(change) for change in callback.learning_rate.changes]
    assert [r.getMessage() for r in caplog.records if r.name == "surefoot"] == said
    trainer.evaluate()  # by hand: no reading
    assert len(callback.learning_rate.changes) == 2


def test_val_loss_is_eval_loss(tmp_path):
    plateau = Plateau("val_loss", patience=5)
    trainer, _ = train(LearningRateCallback(SCHEDULE, [plateau]), tmp_path)
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert plateau.best == min(losses)


def test_the_training_loss_is_read_at_each_logging_step(tmp_path):
    plateau = Plateau("loss", patience=50)
    trainer, _ = train(LearningRateCallback(SCHEDULE, [plateau]), tmp_path, evaluations=False)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 8
    assert plateau.best == min(losses)


def test_a_controller_stops_the_trainer(tmp_path):
    class Flat(Plateau):
        def is_gain(self, value):
            return False

    plateau = Flat("loss", patience=1, stop_after=1)
    trainer, _ = train(LearningRateCallback(SCHEDULE, [plateau]), tmp_path)
    assert trainer.state.global_step == 2


def test_a_run_resumed_at_any_step_has_the_rates_of_one_that_never_stopped(tmp_path):
    def callback():
        return LearningRateCallback(SCHEDULE, [Plateau("eval_loss", patience=1, factor=0.5, min_delta=10.0)])

    whole = callback()
    _, rates = train(whole, tmp_path, saves=True)
    for step in range(1, 8):
        resumed = callback()
        _, rest = train(resumed, tmp_path / "resumed", resume=str(tmp_path / f"checkpoint-{step}"))
        assert rest == rates[step:], step
        assert resumed.learning_rate.why() == whole.learning_rate.why()


def test_a_checkpoint_can_go_on_without_the_callback(tmp_path):
    train(LearningRateCallback(SCHEDULE), tmp_path, saves=True)
    trainer, _ = train(Used(), tmp_path, resume=str(tmp_path / "checkpoint-3"))
    assert trainer.state.global_step == 8


def test_an_optimizer_that_is_driven_already_is_refused(tmp_path):
    optimizer = torch.optim.SGD(Net().parameters(), lr=0.1)
    rate = drive(optimizer, linear_decay(), total_steps=8)
    with pytest.raises(ArgumentError, match="driven already"):
        train(LearningRateCallback(SCHEDULE), tmp_path, optimizers=(optimizer, rate))


def test_epochs_are_those_of_the_data_also_where_the_steps_are_given(tmp_path):
    schedule = linear_warmup("1 epochs") >> cosine_decay()
    _, used = train(LearningRateCallback(schedule), tmp_path, max_steps=6)  # an epoch has 4
    known = (linear_warmup(4) >> cosine_decay()).resolve(6)
    assert used == [0.01 * known(t) for t in range(6)]


def test_arguments_are_checked_at_construction():
    with pytest.raises(ArgumentTypeError, match="schedule must be a schedule"):
        LearningRateCallback("cosine")
    for skips in (DivergenceGuard(action="skip"), Chain(Plateau(), DivergenceGuard(action="skip"))):
        with pytest.raises(ArgumentError, match="do not skip updates"):
            LearningRateCallback(SCHEDULE, [skips])
