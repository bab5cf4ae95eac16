"""A process alone, and a process in a job."""

import pytest
import torch
import torch.distributed as dist
from processes import free_ports

from shared.engine.session import Session, precision_of, session

CPU = torch.device("cpu")


def test_alone_a_process_is_first_of_one():
    with session("cpu") as here:
        assert here == Session(CPU, 0, 1)
        assert here.first
        assert not dist.is_initialized()


def test_in_a_job_it_joins_and_leaves(monkeypatch):
    place = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_ports(1)[0]}
    for key, value in place.items():
        monkeypatch.setenv(key, str(value))
    with session("cpu") as here:
        assert here == Session(CPU, 0, 1)
        assert dist.get_backend() == "gloo"
    assert not dist.is_initialized()
    with pytest.raises(ZeroDivisionError), session("cpu"):
        _ = 1 / 0
    assert not dist.is_initialized(), "an error must not leave the group behind"


def test_only_the_first_writes():
    assert not Session(CPU, rank=1, processes=2).first


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_a_sentence():
    with pytest.raises(ValueError, match="'cuda' was asked for, but PyTorch sees no GPU; use device=cpu"), session("cuda"):
        pass
    with pytest.raises(ValueError, match="no device 'tpu'; choose auto, cpu or cuda"), session("tpu"):
        pass
    with session("auto") as here:
        assert here.device == CPU


def test_precision_is_full_on_a_cpu_unless_asked():
    assert precision_of("auto", CPU) is None
    assert precision_of("fp32", CPU) is None
    assert precision_of("bf16", CPU) is torch.bfloat16
    with pytest.raises(ValueError, match="no precision 'half'; choose auto, fp32 or bf16"):
        precision_of("half", CPU)
