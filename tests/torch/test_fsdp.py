"""Sharded training (FSDP2 and FSDP1) in two processes: `drive` writes the same rate on both, and is resumed."""

import copy
import os
import socket
import traceback

import pytest

import torch
from surefoot.control import DivergenceGuard, Plateau
from surefoot.schedules import cosine_decay, linear_warmup
from surefoot.torch import drive
from torch import nn

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed"),
]
STEPS = 16
CUT = 7  # where a run is saved and another goes on
POISON = {(1, 5): float("nan"), (0, 10): float("inf")}  # the reading of one rank, at a step


def shard(version):
    """Return a small model, sharded over the processes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
    if version == 1:
        from torch.distributed.fsdp import FullyShardedDataParallel

        return FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    for layer in (model[0], model[2]):
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def start(version):
    model = shard(version)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    controllers = [Plateau("loss", patience=2, factor=0.5), DivergenceGuard("gradient_norm")]
    schedule = linear_warmup(3) >> cosine_decay(to=0.1)
    return model, optimizer, drive(optimizer, schedule, total_steps=STEPS, controllers=controllers)


def go(rank, model, optimizer, lr, steps):
    used = []
    for step in steps:
        data = torch.Generator().manual_seed(100 * step + rank)
        x, y = torch.randn(8, 4, generator=data), torch.randn(8, 1, generator=data)  # nothing to learn: a plateau
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        norm = sum(local(p.grad).square().sum() for p in model.parameters() if p.grad is not None).sqrt()  # of a shard
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        lr.step(loss=loss, gradient_norm=POISON.get((rank, step), norm))
    return used


def local(tensor):
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def train(rank, version):
    model, optimizer, lr = start(version)
    rates = go(rank, model, optimizer, lr, range(CUT))
    weights = [p.detach().clone() for p in model.parameters()]
    states = copy.deepcopy(optimizer.state_dict()), lr.state_dict()  # the first holds the tensors that go on changing
    rates += go(rank, model, optimizer, lr, range(CUT, STEPS))

    again, fresh, resumed = start(version)
    with torch.no_grad():
        for p, saved in zip(again.parameters(), weights, strict=True):
            p.copy_(saved)
    fresh.load_state_dict(states[0])
    resumed.load_state_dict(states[1])
    return {
        "rates": rates,
        "resumed": go(rank, again, fresh, resumed, range(CUT, STEPS)),
        "changes": [(change.step, change.controller, change.cause) for change in lr.changes],
        "weights": [whole(p) for p in model.parameters()] if version == 2 else gathered(model),
        "weights resumed": [whole(p) for p in again.parameters()] if version == 2 else gathered(again),
    }


def whole(parameter):
    return parameter.full_tensor().detach().clone()


def gathered(model):
    from torch.distributed.fsdp import FullyShardedDataParallel

    with FullyShardedDataParallel.summon_full_params(model):
        return [p.detach().clone() for p in model.parameters()]


def process(rank, port, folder, version):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    try:
        found = train(rank, version)
    except Exception:  # noqa: BLE001 - the parent asks for it
        found = {"error": traceback.format_exc()}
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("version", [1, 2], ids=["FSDP1", "FSDP2"])
def test_sharded_ranks_have_one_rate_one_mind_and_can_be_resumed(version, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(process, (port, str(tmp_path), version), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert "error" not in one, one["error"]
    assert one["rates"] == two["rates"]
    assert one["changes"] == two["changes"]
    said = {step: cause for step, who, cause in one["changes"] if who == "DivergenceGuard"}
    assert said == {6: "gradient_norm is nan", 11: "gradient_norm is inf"}
    assert any(who == "Plateau" for _, who, _ in one["changes"])
    for key in ("weights", "weights resumed"):
        assert all(torch.equal(a, b) for a, b in zip(one[key], two[key], strict=True))
    assert one["resumed"] == two["resumed"] == one["rates"][CUT:]
    assert all(torch.equal(a, b) for a, b in zip(one["weights"], one["weights resumed"], strict=True))
