"""Next tokens as targets: how a language model and a decoder are trained."""

import torch
from torch import Tensor

from seq.data.outputs import IGNORE_INDEX
from seq.data.ragged import Ints, at_least


def next_token_batch(padded: Ints, stored: Ints) -> dict[str, Tensor]:
    """`inputs`, `lengths` and `targets` from token ids `padded` (B, T) with their lengths `stored` (B,): inputs are all tokens but the
    last, targets all but the first. An empty row is one step of padding."""
    tokens, lengths = torch.from_numpy(at_least(padded, 2)), torch.from_numpy(stored - 1)
    outside = torch.arange(tokens.shape[1] - 1) >= lengths[:, None]
    inputs, targets = tokens[:, :-1].masked_fill(outside, 0), tokens[:, 1:].masked_fill(outside, IGNORE_INDEX)
    return {"inputs": inputs, "lengths": lengths.clamp(min=1), "targets": targets}
