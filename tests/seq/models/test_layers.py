"""Dropout of features and of tokens."""

import torch

from seq.data import tokenizer
from seq.models.layers import UNKNOWN, LockedDropout, TokenDropout


def test_locked_dropout_keeps_one_mask_for_all_steps() -> None:
    torch.manual_seed(0)
    dropout = LockedDropout(0.5)
    dropped = dropout(torch.ones(3, 4, 50))
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(dropped[0], dropped[1])
    assert torch.equal(dropout.eval()(torch.ones(3, 4, 50)), torch.ones(3, 4, 50))


def test_tokens_become_unknown_but_markers_and_padding_stay() -> None:
    assert UNKNOWN == tokenizer.UNKNOWN == tokenizer.RESERVED - 1
    inputs = torch.tensor([[1, 4, 5, 6, 7, 2, 0, 0]]).repeat(2000, 1)
    torch.manual_seed(0)
    module = TokenDropout(0.25)
    read = module(inputs)
    assert torch.equal(read[:, [0, 5, 6, 7]], inputs[:, [0, 5, 6, 7]])
    changed = read != inputs
    assert (read[changed] == UNKNOWN).all()
    assert 0.22 < changed[:, 1:5].float().mean().item() < 0.28
    assert torch.equal(module.eval()(inputs), inputs)
    torch.manual_seed(0)
    assert torch.equal(module.train()(inputs), read)
