"""Lightning modules as jobs: the contract of jobs, Lightning's own training as the oracle, and what is refused."""

import math

import pytest
from torch.utils.data import DataLoader, TensorDataset

import surefoot as sf
import torch
from surefoot.testing import check_job
from surefoot.torch import TorchJob

lightning = pytest.importorskip(
    "lightning.pytorch", reason='Lightning is not installed: pip install "surefoot[lightning]"'
)

from surefoot.integrations.lightning import LightningJob  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
X = torch.randn(52, 4, generator=torch.Generator().manual_seed(0))
Y = X.sum(1).sin()[:, None]
DATA = ((X, Y), (X[:21], Y[:21]))


class Net(lightning.LightningModule):
    def __init__(self, kind="adam", scheduler=False, **changes):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
        )
        self.drop = torch.nn.Dropout(0.1)
        self.kind, self.scheduler = kind, scheduler
        vars(self).update(changes)

    def training_step(self, batch, batch_idx):
        loss = torch.nn.functional.mse_loss(self.net(self.drop(batch[0])), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        error = (self.net(batch[0]) - batch[1]).abs()
        self.log_dict({"val_loss": error.square().mean(), "val_accuracy": (error < 0.3).float().mean()}, prog_bar=True)

    def configure_optimizers(self):
        if self.kind == "groups":
            groups = [{"params": self.net[0].parameters(), "lr": 0.1}, {"params": self.net[3].parameters(), "lr": 0.01}]
            return torch.optim.SGD(groups)
        optimizer = torch.optim.Adam(self.parameters(), lr=0.003, betas=(0.8, 0.99))
        forms = {
            "adam": optimizer,
            "list": [optimizer],
            "dict": {"optimizer": optimizer},
            "two": [optimizer, optimizer],
            "none": None,
            "dict with scheduler": {
                "optimizer": optimizer,
                "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 3),
            },
            "lists": ([optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 3)]),
        }
        return forms[self.kind]


class Data(lightning.LightningDataModule):
    def __init__(self, shuffle=True):
        super().__init__()
        self.shuffle = shuffle

    def setup(self, stage):
        self.train, self.val = TensorDataset(X, Y), TensorDataset(X[:21], Y[:21])

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=8, shuffle=self.shuffle, drop_last=True)

    def val_dataloader(self):
        return [DataLoader(self.val, batch_size=8)]


class WithLoaders(Net):
    def train_dataloader(self):
        return DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True)

    def val_dataloader(self):
        return DataLoader(TensorDataset(X[:21], Y[:21]), batch_size=8)


def make(module=Net, data=None, **settings):
    return LightningJob(module, Data() if data is None else data, **{"total_steps": 40, "device": "cpu", **settings})


@pytest.mark.parametrize(
    "maker",
    [
        make,
        lambda: make(lambda: Net("groups"), clip_norm=1.0),
        lambda: make(data=DATA, batch_size=8),
        lambda: LightningJob(WithLoaders, total_steps=40, device="cpu"),
        lambda: make(monitor="val_accuracy", goal="max"),
    ],
    ids=["data module", "groups", "pair", "own loaders", "accuracy"],
)  # fmt: skip
def test_keeps_the_contract(maker):
    check_job(maker, steps=11)


def test_a_given_module_is_copied_and_left_as_it_was():
    torch.manual_seed(3)
    module = Net()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    check_job(lambda: make(module), steps=9, uses_seed=True)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert "log" not in vars(module)


def test_it_trains_as_lightning_does(tmp_path):
    """Lightning's own loop, the same order, no schedule: the same weights after two epochs and a half."""
    torch.manual_seed(3)
    module = Net()
    module.drop.p = 0.0
    job = make(module, Data(shuffle=False), clip_norm=0.5)
    run = job.start(job.default_learning_rate, seed=0)
    job.advance(run, [1.0] * 15)
    trainer = lightning.Trainer(
        max_steps=15, gradient_clip_val=0.5, logger=False, enable_checkpointing=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, Data(shuffle=False))
    for name, value in module.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], value, rtol=1e-6, atol=1e-7)
    (result,) = trainer.validate(module, Data(), verbose=False)
    assert job.evaluate(run) == pytest.approx(result["val_loss"], rel=1e-5)
    again = make(module)  # attached to a trainer now, which its copies are not
    assert again.start(0.1, seed=0).model._trainer is None
    assert module._trainer is trainer


def test_rates_of_groups_keep_their_ratio():
    job = make(lambda: Net("groups"))
    assert job.default_learning_rate == 0.1
    assert [g["lr"] for g in job.start(0.5, seed=0).optimizer.param_groups] == pytest.approx([0.5, 0.05])


def test_settings_of_the_optimizer_are_the_modules():
    job = make()
    group = job.start(0.1, seed=0).optimizer.param_groups[0]
    assert (group["lr"], group["betas"], job.optimizer_name) == (0.1, (0.8, 0.99), "adam")


@pytest.mark.parametrize("kind", ["adam", "list", "dict"])
def test_every_form_of_one_optimizer_is_understood(kind):
    assert make(lambda: Net(kind)).default_learning_rate == 0.003


@pytest.mark.parametrize("kind", ["dict with scheduler", "lists"])
def test_a_scheduler_is_refused_unless_a_schedule_stands_for_it(kind):
    with pytest.raises(sf.ArgumentError, match="given where configure_optimizers returns a scheduler"):
        make(lambda: Net(kind))
    assert make(lambda: Net(kind), schedule=sf.cosine_decay()).default_learning_rate == 0.003


def test_a_search_and_a_comparison_are_the_same_as_of_a_torch_job():
    def loss(model, batch):
        return model.training_step(batch, 0)

    def optimizer(params, lr):
        return torch.optim.Adam(params, lr=lr, betas=(0.8, 0.99))

    def metric(model, batch):
        return torch.nn.functional.mse_loss(model.net(batch[0]), batch[1])

    plain = TorchJob(model=Net, loss=loss, train=DATA[0], val=DATA[1], batch_size=8, optimizer=optimizer, metric=metric,
                     learning_rate=0.003, total_steps=240, device="cpu")  # fmt: skip
    job = make(Net, DATA, batch_size=8, total_steps=240)
    one, two = sf.find(job, seed=1), sf.find(plain, seed=1)
    assert one.learning_rate == two.learning_rate
    assert [t.val_loss for t in one.trials] == [t.val_loss for t in two.trials]
    compared = sf.find(job, methods=["adam", "prodigy"])
    assert {r.method for r in compared.table} == {"adam", "prodigy"}


def test_a_search_resumes(tmp_path):
    found = sf.find(make(Net, total_steps=240), run_dir=tmp_path)
    again = sf.find(make(Net, total_steps=240), run_dir=tmp_path)
    assert again == found
    assert again.train().val_loss == found.train().val_loss


def test_a_module_without_validation_is_judged_by_its_training_step():
    class Plain(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(4, 1)

        def training_step(self, batch):
            return {"loss": (self.line(batch[0]) - batch[1]).square().mean()}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    job = make(Plain, DATA, batch_size=8)
    run = job.start(0.1, seed=0)
    assert math.isfinite(job.advance(run, [1.0])[0])
    assert math.isfinite(job.evaluate(run))


class Returns(Net):
    returned = None

    def validation_step(self, batch, batch_idx):
        return {"loss": self.training_step(batch, 0)} if self.returned == "loss" else None


class Trainer(Net):
    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) * (1 + self.trainer.global_step)


class Manual(Net):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False


class Metric(Net):
    def validation_step(self, batch, batch_idx):
        self.log("val_loss", object())


class NoSteps(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(1, 1)


def test_a_returned_loss_is_taken_where_none_is_logged():
    job = make(lambda: Returns(returned="loss"))
    assert math.isfinite(job.evaluate(job.start(0.1, seed=0)))


@pytest.mark.parametrize(
    ("module", "settings", "words"),
    [
        (torch.nn.Linear(1, 1), {}, "a LightningModule, or a function"),
        (None, {}, "a LightningModule, or a function"),
        (lambda: torch.nn.Linear(1, 1), {}, "a function that returns a LightningModule"),
        (Manual, {}, "automatic optimization"),
        (NoSteps, {}, "one that defines training_step"),
        (lambda: Net("two"), {}, "one that returns one optimizer"),
        (lambda: Net("none"), {}, "a torch.optim.Optimizer"),
        (Metric, {}, "a number of one batch"),
        (Net, {"monitor": "val_acc"}, "validation_step logged val_accuracy, val_loss"),
        (Net, {"monitor": 3}, "the name of what"),
        (Returns, {}, "logged train_loss|logged nothing"),
        (Net, {"data": 3}, "a LightningDataModule, or a pair"),
        (Net, {"data": (X, Y, X)}, "a LightningDataModule, or a pair"),
        (Net, {"data": ((X, Y), None)}, "val must be data"),
        (Net, {"total_steps": 0}, "total_steps must be"),
        (Net, {"goal": "up"}, "goal must be"),
        (Net, {"learning_rate": 0.0}, "learning_rate must be"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused_when_the_job_is_made(module, settings, words):
    with pytest.raises((sf.ArgumentError, sf.ArgumentTypeError), match=words):
        make(module, **settings)


def test_a_step_that_needs_the_trainer_is_told():
    with pytest.raises(sf.JobError, match="a step needs Lightning's trainer"):
        make(Trainer)


def test_data_left_out_needs_a_module_that_has_them():
    with pytest.raises(sf.ArgumentError, match="where the module has both loaders itself"):
        LightningJob(Net, total_steps=9)


def test_several_validation_sets_are_refused():
    class Two(Data):
        def val_dataloader(self):
            return super().val_dataloader() * 2

    with pytest.raises(sf.ArgumentTypeError, match="returns one DataLoader"):
        make(Net, Two())
