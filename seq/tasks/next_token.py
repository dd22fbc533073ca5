"""Next tokens as targets: how a language model and a decoder are trained."""

import torch
from torch import Tensor

from seq.data.outputs import IGNORE_INDEX
from seq.data.ragged import Ints, at_least


def next_token_batch(padded: Ints, stored: Ints, times: int) -> dict[str, Tensor]:
    """`inputs`, `lengths` and `targets` from token ids `padded` (B, at most times + 1) with their lengths `stored` (B,): inputs are all
    tokens but the last, targets all but the first."""
    tokens, lengths = torch.from_numpy(at_least(padded, times + 1)), torch.from_numpy(stored - 1)
    outside = torch.arange(times) >= lengths[:, None]
    inputs, targets = tokens[:, :-1].masked_fill(outside, 0), tokens[:, 1:].masked_fill(outside, IGNORE_INDEX)
    return {"inputs": inputs, "lengths": lengths.clamp(min=1), "targets": targets}
