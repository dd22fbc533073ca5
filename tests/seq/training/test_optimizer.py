from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seq.config import OptimizerConfig
from seq.training.optimizer import lr_at, make_optimizer


@given(st.sampled_from(["constant", "cosine", "linear"]), st.integers(0, 50), st.integers(51, 300), st.floats(0, 1))
def test_schedule(schedule: str, warmup: int, total: int, final: float) -> None:
    config = OptimizerConfig(lr=2.0, warmup_steps=warmup, schedule=schedule, final_lr=final)  # type: ignore[arg-type]
    warmup = min(warmup, total // 2)
    rates = [lr_at(step, total, config) for step in range(total)]
    assert all(0 <= rate <= 2.0 + 1e-12 for rate in rates)
    assert rates[:warmup] == pytest.approx([2.0 * (step + 1) / warmup for step in range(warmup)])
    assert rates[warmup] == pytest.approx(2.0)
    after = rates[warmup:]
    assert all(early >= late - 1e-12 for early, late in pairwise(after))
    if len(after) > 1:
        assert rates[-1] == pytest.approx(2.0 if schedule == "constant" else 2.0 * final)
    if schedule == "linear":
        assert after[: 3 * (len(after) - 1) // 4] == pytest.approx([2.0] * (3 * (len(after) - 1) // 4))


def test_matrices_decay_and_vectors_do_not() -> None:
    model = nn.Linear(3, 2)
    optimizer = make_optimizer(model, OptimizerConfig(lr=0.1, weight_decay=0.5))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), before["weight"] * (1 - 0.1 * 0.5))
    assert torch.equal(model.bias.detach(), before["bias"])
