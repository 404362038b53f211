"""Two processes with local batches of their own: replicas stay equal, and are those of torch's optimizer."""

import os
import socket

import pytest

import surefoot.torch as ours
import torch
from torch import nn


def train(rank, port, folder, name, is_view):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    found = {}
    for way, cls in (("ours", getattr(ours, name)), ("torch", getattr(torch.optim, name, None))):
        if cls is None:
            continue
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1)).double()
        model = nn.parallel.DistributedDataParallel(net, gradient_as_bucket_view=is_view)
        optimizer = cls(model.parameters(), lr=0.01)
        if way == "ours":
            optimizer.clip(global_norm=0.5) if name == "DoG" else None
        generator = torch.Generator().manual_seed(1 + rank)
        for _ in range(6):
            x = torch.randn(8, 5, generator=generator, dtype=torch.float64)
            model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        assert way == "torch" or optimizer._plan is not None
        found[way] = [p.detach().clone() for p in net.parameters()]
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed")
@pytest.mark.parametrize("is_view", [False, True], ids=["own gradients", "bucket views"])
@pytest.mark.parametrize("name", ["Adam", "DoG"])
def test_replicas_stay_equal_and_are_those_of_torch(name, is_view, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(train, (port, str(tmp_path), name, is_view), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(p, q) for p, q in zip(one["ours"], two["ours"], strict=True))
    for p, q in zip(one["ours"], one.get("torch", one["ours"]), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-15)
