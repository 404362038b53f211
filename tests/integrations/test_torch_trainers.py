"""Training frameworks take what `drive` returns as it is, and train with its rates."""

import pytest

import torch
from surefoot.schedules import cosine_decay, linear_warmup
from surefoot.torch import drive
from surefoot.torch.lr_scheduler import LinearLR, ReduceLROnPlateau

SCHEDULE = linear_warmup("10%") >> cosine_decay(to=0.1)
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs


def test_the_trainer_of_transformers_takes_it_as_it_is(tmp_path):
    pytest.importorskip("accelerate")
    transformers = pytest.importorskip("transformers")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(2, 1)

        def forward(self, x, labels=None):
            y = self.line(x)
            return {"loss": (y - labels).square().mean(), "logits": y}

    data = [{"x": torch.ones(2) * i, "labels": torch.ones(1)} for i in range(16)]
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    rate = drive(optimizer, SCHEDULE, total_steps=8)
    arguments = transformers.TrainingArguments(
        str(tmp_path), per_device_train_batch_size=2, gradient_accumulation_steps=2, num_train_epochs=2,
        logging_steps=1, report_to=[], save_steps=3, use_cpu=True,
    )  # fmt: skip
    trainer = transformers.Trainer(net, arguments, train_dataset=data, optimizers=(optimizer, rate))
    trainer.train()
    assert rate.step_count == 8
    logged = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert logged == [rate.at(t) for t in range(8)]
    saved = torch.load(tmp_path / "checkpoint-3" / "scheduler.pt", weights_only=True)
    assert saved["step_count"] == 3


def test_lightning_takes_it_as_it_is(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")
    used = []

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(2, 1)

        def training_step(self, batch, _):
            return self.line(batch[0]).square().mean()

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
            scheduler = drive(optimizer, SCHEDULE, total_steps=8)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

        def on_before_optimizer_step(self, optimizer):
            used.append(optimizer.param_groups[0]["lr"])

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(16, 2)), batch_size=2)
    trainer = lightning.Trainer(
        max_epochs=2, accumulate_grad_batches=2, logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(Module(), loader)
    known = SCHEDULE.resolve(8)
    assert used == [0.01 * known(t) for t in range(8)]


def test_lightning_steps_a_warm_up_and_a_plateau_that_multiply(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")
    used = []

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(2, 1)

        def training_step(self, batch, _):
            self.log("stuck", 1.0, on_epoch=True)
            return self.line(batch[0]).square().mean()

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
            warmup = LinearLR(optimizer, 0.25, total_iters=3)
            plateau = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
            by_epoch = {"scheduler": plateau, "monitor": "stuck"}
            return [optimizer], [{"scheduler": warmup, "interval": "step"}, by_epoch]

        def on_before_optimizer_step(self, optimizer):
            used.append(optimizer.param_groups[0]["lr"])

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 2)), batch_size=2)
    trainer = lightning.Trainer(
        max_epochs=4, default_root_dir=tmp_path, logger=False, accelerator="cpu", devices=1,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(Module(), loader)
    warm = [0.25, 0.5, 0.75, *[1.0] * 5]
    cuts = [1.0] * 4 + [0.5] * 2 + [0.25] * 2  # the first reading is the best
    assert used == pytest.approx([0.01 * w * c for w, c in zip(warm, cuts, strict=True)])
