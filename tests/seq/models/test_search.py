"""A wide beam finds what trying everything finds; a beam of one is greedy; rows do not depend on each other."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seq.config import Seq2SeqConfig
from seq.data import tokenizer
from seq.models import search as search_module
from seq.models.search import BOS, EOS, search
from seq.models.seq2seq import Seq2Seq

VOCABULARY, MOST = 7, 3


def make(seed: int) -> Seq2Seq:
    torch.manual_seed(seed)
    model = Seq2Seq(Seq2SeqConfig(embedding_dim=4, hidden_size=5), 9, VOCABULARY, 1.0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=1.5)
    return model.eval()


def log_probability(model: Seq2Seq, inputs: torch.Tensor, output: tuple[int, ...]) -> float:
    """Of an output that ends with EOS, or has MOST tokens: token by token."""
    memory, hidden = model.encode(inputs, torch.tensor([inputs.shape[1]]))
    before = torch.tensor([[BOS, *output[:-1]]])
    logits = model.decode(before, torch.tensor([before.shape[1]]), memory, hidden)[0][0].float()
    logits[:, [0, 1, 3]] = -torch.inf  # the markers are never written, so the others share their probability
    return sum(logits.log_softmax(-1)[step, token].item() for step, token in enumerate(output))


def everything() -> list[tuple[int, ...]]:
    tokens = [token for token in range(VOCABULARY) if token > 3]
    ended = [(*own, EOS) for size in range(MOST) for own in product(tokens, repeat=size)]
    return ended + list(product(tokens, repeat=MOST))


@given(st.integers(0, 10_000))
def test_a_wide_beam_finds_the_best(seed: int) -> None:
    model, inputs = make(seed), torch.randint(1, 9, (1, 4), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        scored = sorted(((log_probability(model, inputs, own), own) for own in everything()), reverse=True)[:5]
    found = search(model, inputs, torch.tensor([4]), beam=40, most=MOST)
    outputs = [tuple(token for token in own if token) for own in found.tokens[0].tolist()]
    assert found.log_probabilities[0, :5].tolist() == pytest.approx([score for score, _ in scored], abs=1e-4)
    assert outputs[0] == scored[0][1] or scored[0][0] - scored[1][0] < 1e-4


def test_the_probabilities_of_all_outputs_add_up_to_one() -> None:
    model, inputs = make(5), torch.randint(1, 9, (1, 4))
    found = search(model, inputs, torch.tensor([4]), beam=len(everything()), most=MOST)
    assert found.log_probabilities.exp().sum().item() == pytest.approx(1, abs=1e-5)


@given(st.integers(0, 10_000))
def test_greedy_takes_the_likeliest_token(seed: int) -> None:
    model, inputs = make(seed), torch.randint(1, 9, (1, 4), generator=torch.Generator().manual_seed(seed))
    (own,) = search(model, inputs, torch.tensor([4]), beam=1, most=MOST).tokens[0].tolist()
    expected = list[int]()
    with torch.no_grad():
        memory, hidden = model.encode(inputs, torch.tensor([4]))
        while len(expected) < MOST and expected[-1:] != [EOS]:
            before = torch.tensor([[BOS, *expected]])
            logits = model.decode(before, torch.tensor([before.shape[1]]), memory, hidden)[0][0, -1]
            expected.append(
                max((token for token in range(VOCABULARY) if token not in (0, 1, 3)), key=lambda t: logits[t])
            )
    assert [token for token in own if token] == expected


@pytest.mark.parametrize("beam", [1, 4])
def test_rows_do_not_depend_on_each_other(beam: int) -> None:
    model = make(3)
    inputs, lengths = torch.randint(1, 9, (5, 6)), torch.tensor([6, 1, 3, 6, 2])
    inputs = inputs.masked_fill(torch.arange(6) >= lengths[:, None], 0)
    together = search(model, inputs, lengths, beam=beam, most=8)
    for row, size in enumerate(lengths.tolist()):
        alone = search(model, inputs[row : row + 1, :size], lengths[row : row + 1], beam=beam, most=8)
        width = alone.tokens.shape[2]
        assert together.tokens[row, :, :width].tolist() == alone.tokens[0].tolist()
        assert not together.tokens[row, :, width:].any()
        torch.testing.assert_close(together.log_probabilities[row], alone.log_probabilities[0])


def test_the_markers_are_those_of_the_tokenizer() -> None:
    for name in ("PAD", "BOS", "EOS", "UNKNOWN"):
        assert getattr(search_module, name) == getattr(tokenizer, name)
