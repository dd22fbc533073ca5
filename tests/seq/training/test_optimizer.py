from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seq.config import OptimizerConfig
from seq.training.optimizer import RowAdamW, lr_at, make_optimizer


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
    assert rates[-1] > 0
    if schedule != "constant":  # it would be reached one step later
        assert lr_at(total, total, config) == pytest.approx(2.0 * final)
    if schedule == "linear":  # over the last quarter of the whole run
        first = max(warmup, -(-3 * total // 4))
        assert rates[warmup:first] == pytest.approx([2.0] * (first - warmup))
        falling = [2.0 * (final + (1 - final) * 4 * (total - step) / total) for step in range(first, total)]
        assert rates[first:] == pytest.approx(falling)


def test_matrices_decay_and_vectors_do_not() -> None:
    model = nn.Linear(3, 2)
    optimizer = make_optimizer(model, OptimizerConfig(lr=0.1, weight_decay=0.5))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), before["weight"] * (1 - 0.1 * 0.5))
    assert torch.equal(model.bias.detach(), before["bias"])


def test_rows_are_updated_as_adamw_updates_all() -> None:
    """Without momentum, and at a constant rate, rows that are not read need no update until they are read."""
    torch.manual_seed(0)
    config = OptimizerConfig(lr=0.1, betas=(0.9, 0.9), weight_decay=0.2)
    weight = torch.randn(8, 3)
    rows_only = RowAdamW(weight.clone(), config)
    whole = nn.Parameter(weight.clone())
    optimizer = torch.optim.AdamW([whole], lr=0.1, betas=(0.0, 0.9), weight_decay=0.2)
    good, one = torch.tensor(False), torch.ones(())
    for step in range(40):
        rows = torch.randperm(8)[: 1 + step % 4].sort().values if step < 39 else torch.arange(8)
        gradient = torch.randn(len(rows), 3)
        whole.grad = torch.zeros(8, 3).index_copy(0, rows, 2 * gradient)
        optimizer.step()
        rows_only.step(rows, 4 * gradient, lr=0.1, divide_by=2 * one, bad=good)
        torch.testing.assert_close(rows_only.weight[rows], whole.detach()[rows])
    torch.testing.assert_close(rows_only.weight, whole.detach())


@pytest.mark.parametrize("steps_before", [0, 1])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, 3.0])
def test_a_bad_step_changes_no_row(steps_before: int, value: float) -> None:
    table = RowAdamW(torch.randn(5, 2), OptimizerConfig())
    rows, good, one = torch.tensor([1, 3]), torch.tensor(False), torch.ones(())
    for _ in range(steps_before):
        table.step(rows, torch.randn(2, 2), lr=0.1, divide_by=one, bad=good)
    before = [table.weight.clone(), *(tensor.clone() for tensor in table.state_dict().values())]
    table.step(rows, torch.full((2, 2), value), lr=0.1, divide_by=one * torch.nan, bad=~good)
    after = [table.weight, *table.state_dict().values()]
    assert all(torch.equal(was, now) for was, now in zip(before, after, strict=True))
