"""Find the likeliest outputs of an encoder-decoder: greedily, or with a beam. It knows ids, not text."""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from launch.device import to_device

PAD, BOS, EOS, UNKNOWN = 0, 1, 2, 3
"""The same as in `seq.data.tokenizer`."""


class EncoderDecoder(Protocol):
    """A search calls these methods of a `Seq2Seq`, or of several as one."""

    def encode(self, inputs: Tensor, lengths: Tensor) -> tuple[Any, Tensor]: ...

    def decode(self, tokens: Tensor, lengths: Tensor, memory: Any, hidden: Tensor) -> tuple[Tensor, Tensor]: ...


class Found(NamedTuple):
    """For each of B rows its `beam` best outputs, the likeliest first."""

    tokens: Tensor
    """(B, beam, T), without BOS; after EOS all are PAD. On the CPU."""
    log_probabilities: Tensor
    """(B, beam), of the whole output with its EOS, or of an output that was cut off at `most`; -inf where there are fewer
    outputs. They are normalised
    over the tokens that may be written: not PAD, BOS and unknown ones."""


@torch.inference_mode()
def search(model: EncoderDecoder, inputs: Tensor, lengths: Tensor, *, beam: int, most: int) -> Found:
    """The likeliest outputs of at most `most` tokens of `inputs` (B, S) with `lengths` (B,). With `beam` 1 the search is greedy.
    All beams of all rows go through the decoder together. The caller sets eval mode."""
    device, rows = inputs.device, len(inputs)
    memory, hidden = model.encode(inputs, lengths)
    memory = memory.take(torch.arange(rows, device=device).repeat_interleave(beam))
    hidden = hidden.repeat_interleave(beam, dim=1)
    one, first = torch.ones(rows * beam, dtype=torch.int64), torch.arange(rows, device=device)[:, None] * beam
    totals = torch.full((rows, beam), -torch.inf, device=device)
    totals[:, 0] = 0.0  # at first all beams are equal
    tokens = torch.full((rows, beam, 1), BOS, device=device)
    forbidden = to_device(torch.tensor([PAD, BOS, UNKNOWN]), device)
    for _ in range(most):
        ended = (tokens[:, :, -1] == EOS) | (tokens[:, :, -1] == PAD)
        if bool(ended.all()):
            break
        logits, hidden = model.decode(tokens[:, :, -1].reshape(-1, 1), one, memory, hidden)
        steps = logits[:, 0].float().index_fill(1, forbidden, -torch.inf).log_softmax(-1).view(rows, beam, -1)
        # A finished output continues with PAD alone, at no cost.
        steps = steps.masked_fill(ended[:, :, None], -torch.inf)
        steps[:, :, PAD] = torch.where(ended, 0.0, -torch.inf)
        best = (totals[:, :, None] + steps).flatten(1).topk(beam, dim=1)
        totals, parent, token = best.values, best.indices // steps.shape[2], best.indices % steps.shape[2]
        tokens = torch.cat([tokens.take_along_dim(parent[:, :, None], dim=1), token[:, :, None]], dim=2)
        hidden = hidden.index_select(1, (first + parent).flatten())
    return Found(tokens[:, :, 1:].cpu(), totals.cpu())
