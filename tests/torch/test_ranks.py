"""Two processes whose local losses differ: their rates and weights must not."""

import os
import socket
import traceback

import pytest

import torch
from surefoot.control import DivergenceGuard, Plateau
from surefoot.schedules import constant
from surefoot.torch import drive
from torch import nn

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed")


def process(rank, port, folder, case):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    try:
        found = CASES[case](rank)
    except Exception:  # noqa: BLE001 - the parent asks for it
        found = {"error": traceback.format_exc()}
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def train(rank, controllers, *, poison=(), is_ours=True, steps=20):
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    lr = drive(optimizer, constant(), total_steps=steps, controllers=controllers) if is_ours else None
    data = torch.Generator().manual_seed(1 + rank)
    rates = []
    for step in range(steps):
        x, y = torch.randn(8, 4, generator=data), torch.randn(8, 1, generator=data)  # nothing to learn: a plateau
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        reading = loss.detach() * (float("nan") if (rank, step) in poison else 1.0)
        lr.step(loss=reading) if lr else theirs.step(reading)
        rates.append(optimizer.param_groups[0]["lr"])
    return {"rates": rates, "weights": [p.detach().clone() for p in model.parameters()]}


def steps_apart(rank):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    lr = drive(optimizer, constant(), total_steps=9, controllers=[Plateau()])
    for _ in range(3 + rank):
        optimizer.step()
    lr.step(loss=1.0)


def names_apart(rank):
    lr = drive(
        torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1), constant(), total_steps=9, controllers=[Plateau()]
    )
    lr.observe({"loss" if rank else "val_loss": 1.0})


CASES = {
    "plateau": lambda rank: train(rank, [Plateau(patience=2, factor=0.5)]),
    "torch's plateau": lambda rank: train(rank, [], is_ours=False),
    "a rank with NaN": lambda rank: train(rank, [DivergenceGuard()], poison={(1, 5), (0, 9)}),
    "steps apart": steps_apart,
    "names apart": names_apart,
}


def run(case, folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(process, (port, str(folder), case), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.slow
def test_a_plateau_on_local_losses_decides_alike_where_torchs_drifts_apart(tmp_path):
    one, two = run("plateau", tmp_path)
    assert one["rates"] == two["rates"]
    assert len(set(one["rates"])) > 2
    assert all(torch.equal(a, b) for a, b in zip(one["weights"], two["weights"], strict=True))
    one, two = run("torch's plateau", tmp_path)
    assert one["rates"] != two["rates"], "then this test shows nothing"


@pytest.mark.slow
def test_a_nan_on_one_rank_is_trouble_on_all(tmp_path):
    one, two = run("a rank with NaN", tmp_path)
    assert one["rates"] == two["rates"]
    assert one["rates"][4:10] == [0.1, 0.05, 0.05, 0.05, 0.05, 0.025]
    assert all(torch.equal(a, b) for a, b in zip(one["weights"], two["weights"], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "said"),
    [("steps apart", "the number of updates (4, on rank 0 3)"), ("names apart", "the names of the metrics")],
)
def test_ranks_that_drift_apart_are_named_on_all_of_them(case, said, tmp_path):
    for found in run(case, tmp_path):
        assert f"rank 1 differs from rank 0 in {said}" in found["error"]
