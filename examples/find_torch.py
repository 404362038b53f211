"""Find the learning rate of a torch model on the 1,797 handwritten digits that come with surefoot.

python examples/find_torch.py
surefoot find examples/find_torch.py:make_job
"""

from collections.abc import Sequence

import surefoot as sf
import torch
from surefoot import datasets
from surefoot.torch import TorchJob
from torch import Tensor, nn


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))


def loss(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    images, labels = batch
    return nn.functional.cross_entropy(model(images), labels)


def make_job() -> TorchJob:
    data = datasets.digits()
    return TorchJob(
        model=make_model,
        loss=loss,
        train=(torch.tensor(data.x), torch.tensor(data.y)),
        val=(torch.tensor(data.x_val), torch.tensor(data.y_val)),
        batch_size=32,
        optimizer="adam",
        total_steps=400,
        schedule=sf.linear_warmup("5%") >> sf.cosine_decay(),
        device="cpu",
        name="two layers",
    )


if __name__ == "__main__":
    found = sf.find(make_job(), budget=1.0, seed=0)
    print(found)
    print(*found.why, *found.cautions, sep="\n")
    found.save("found.json")
    found.plot("plot.png")
    found.report("report.html")
