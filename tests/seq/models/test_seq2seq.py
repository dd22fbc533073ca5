"""Padding changes nothing, attention is as in the formula, and free running is the loop that one would write."""

import pytest
import torch

from seq.config import Seq2SeqConfig
from seq.models.seq2seq import Seq2Seq

SIZES = {"embedding_dim": 5, "hidden_size": 6}


def make(teacher_forcing: float = 1.0, **keys: object) -> Seq2Seq:
    torch.manual_seed(0)
    model = Seq2Seq(Seq2SeqConfig(**SIZES | keys), 9, 7, teacher_forcing)  # type: ignore[arg-type]
    return model.double()


def rows() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    lengths, target_lengths = torch.tensor([5, 2, 4]), torch.tensor([3, 4, 1])
    inputs, targets = torch.randint(1, 9, (3, 5)), torch.randint(1, 7, (3, 4))
    inputs = inputs.masked_fill(torch.arange(5) >= lengths[:, None], 0)
    return inputs, lengths, targets.masked_fill(torch.arange(4) >= target_lengths[:, None], 0), target_lengths


def test_padded_is_one_by_one() -> None:
    for keys in ({}, {"num_layers": 2}, {"bidirectional": False}, {"path": "packed"}, {"path": "dense"}):
        model = make(**keys)
        inputs, lengths, targets, target_lengths = rows()
        together, last = model(inputs, lengths, targets, target_lengths)
        for row, (size, steps) in enumerate(zip(lengths.tolist(), target_lengths.tolist(), strict=True)):
            one = slice(row, row + 1)
            alone, own = model(inputs[one, :size], lengths[one], targets[one, :steps], target_lengths[one])
            torch.testing.assert_close(together[one, :steps], alone)
            torch.testing.assert_close(last[:, one], own)


def test_attention_is_that_of_the_formula() -> None:
    model = make()
    inputs, lengths, targets, target_lengths = rows()
    memory, hidden = model.encode(inputs, lengths)
    states, _ = model.decoder(model.target_embedding(targets), target_lengths, hidden)
    weights = model.attention(inputs, lengths, targets, target_lengths)
    for row, size in enumerate(lengths.tolist()):
        assert not weights[row, :, size:].any()
        for step in range(int(target_lengths[row])):
            scores = torch.stack([states[row, step] @ model.key.weight @ memory.states[row, s] for s in range(size)])
            torch.testing.assert_close(weights[row, step, :size], scores.softmax(0))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_token_by_token_is_all_at_once(layers: int) -> None:
    """The state of all layers goes from token to token, as in a search."""
    model = make(num_layers=layers).eval()
    inputs, lengths, targets, _ = rows()
    memory, hidden = model.encode(inputs, lengths)
    together, last = model.decode(targets, torch.full((3,), 4), memory, hidden)
    for step in range(4):
        now = slice(step, step + 1)
        logits, hidden = model.decode(targets[:, now], torch.ones(3, dtype=torch.int64), memory, hidden)
        torch.testing.assert_close(logits, together[:, now])
    torch.testing.assert_close(hidden, last)


def test_free_running_is_a_loop() -> None:
    """With p = 0 each token after the first is the likeliest one of the step before; and gradients flow."""
    model = make(teacher_forcing=0.0).train()
    inputs, lengths, targets, target_lengths = rows()
    logits, _ = model(inputs, lengths, targets, target_lengths)
    for row in range(3):
        size, own = int(lengths[row]), [int(targets[row, 0])]
        for step in range(4):
            read = torch.tensor([own])
            expected, _ = model.decode(
                read, torch.tensor([len(own)]), *model.encode(inputs[row : row + 1, :size], lengths[row : row + 1])
            )
            torch.testing.assert_close(logits[row, step], expected[0, -1])
            own.append(int(expected[0, -1].argmax()))
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_every_parameter_takes_part() -> None:
    model = make(num_layers=2)
    model(*rows())[0].sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
