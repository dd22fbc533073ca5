"""Bidirectional GRU encoder -> GRU decoder with attention: another sequence, token by token.

The attention is Luong's general one (Luong, Pham and Manning, 2015): the decoder reads its own tokens alone, so with teacher
forcing all its states are computed at once, and so are all attention weights:

    weights = softmax(s_t W h_1, ..., s_t W h_S)        c_t = sum of the h_i, weighted        logits = V tanh(U [c_t; s_t])

With several layers, the attention is that of the decoder's first one, and the layers above read [c_t; s_t], as in GNMT (Wu and others, 2016). So
they know what was attended to before, as with input feeding, and still all steps are computed at once; s_t in the logits is then theirs.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from launch.device import to_device
from launch.passes import chance
from seq.config import Seq2SeqConfig
from seq.models.gru import GRU
from seq.models.layers import Dropout, Embedding, Linear, LockedDropout, TokenDropout, multiply_rows


class Memory(NamedTuple):
    """The encoded sequences that the decoder attends to; B rows, S steps."""

    states: Tensor
    """(B, S, D * H), zero after each row's end."""
    keys: Tensor
    """(B, S, H): the states times W."""
    outside: Tensor
    """(B, 1, S): True after each row's end."""

    def take(self, rows: Tensor) -> "Memory":
        """The chosen rows."""
        return Memory(*(part.index_select(0, rows) for part in self))


class Seq2Seq(nn.Module):
    """With `teacher_forcing` p < 1, in training each token after the first that the decoder reads is the true one with probability
    p, else its own likeliest."""

    def __init__(self, config: Seq2SeqConfig, vocab_size: int, num_outputs: int, teacher_forcing: float) -> None:
        super().__init__()
        self.teacher_forcing = teacher_forcing
        self.embedding = Embedding(vocab_size, config.embedding_dim, padding_idx=0)
        self.target_embedding = Embedding(num_outputs, config.embedding_dim, padding_idx=0)
        self.token_dropout = TokenDropout(config.token_dropout)
        self.embedding_dropout = LockedDropout(config.embedding_dropout)
        self.gru = GRU(config.embedding_dim, config, bidirectional=config.bidirectional)
        self.bridge = Linear(self.gru.directions * self.gru.state_size, self.gru.state_size)
        self.decoder = GRU(config.embedding_dim, config, bidirectional=False, num_layers=1)
        self.key = Linear(self.gru.directions * config.hidden_size, config.hidden_size, bias=False)
        self.attention_dropout = Dropout(config.attention_dropout)
        found, upper = (self.gru.directions + 1) * config.hidden_size, config.num_layers - 1
        self.dropout = Dropout(config.dropout)
        self.upper = GRU(found, config, bidirectional=False, num_layers=upper) if upper else None
        self.mix = Linear(found, config.hidden_size)
        self.output_dropout = Dropout(config.output_dropout)
        self.output = Linear(config.hidden_size, num_outputs)

    def forward(
        self, inputs: Tensor, lengths: Tensor, target_inputs: Tensor, target_lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`inputs` (B, S) token ids, `target_inputs` (B, T) the tokens before the targets; their lengths (B,) on the CPU ->
        logits (B, T, num_outputs), undefined after a row's end, and the decoder's last states (L, B, H)."""
        memory, hidden = self.encode(inputs, lengths)
        if self.training and self.teacher_forcing < 1:
            return self._free_running(target_inputs, memory, hidden)
        return self.decode(target_inputs, target_lengths, memory, hidden)

    def encode(self, inputs: Tensor, lengths: Tensor) -> tuple[Memory, Tensor]:
        """The memory, and the states (L, B, H) that the decoder begins with."""
        embedded = self.embedding_dropout(self.embedding(self.token_dropout(inputs)))
        states, last = self.gru(embedded, lengths)
        ends = to_device(lengths, inputs.device)
        outside = torch.arange(inputs.shape[1], device=inputs.device) >= ends[:, None]
        states = states.masked_fill(outside[:, :, None], 0)
        # (L * D, B, H) -> (B, L, D * H)
        both = last.unflatten(0, (-1, self.gru.directions)).permute(2, 0, 1, 3).flatten(2)
        hidden = torch.tanh(self.bridge(both)).transpose(0, 1)
        return Memory(states, self.key(states), outside[:, None]), hidden

    def decode(
        self, tokens: Tensor, lengths: Tensor, memory: Memory, hidden: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`tokens` (B, T), from the state `hidden` (L, B, H) -> logits (B, T, num_outputs), and the last state."""
        embedded = self.embedding_dropout(self.target_embedding(tokens), mask)
        states, last = self.decoder(embedded, lengths, hidden[:1])
        context = multiply_rows(self.attention_dropout(self.weights(states, memory)), memory.states.to(states.dtype))
        found = torch.cat([context, states], dim=2)
        if self.upper is not None:
            states, above = self.upper(self.dropout(found), lengths, hidden[1:])
            found, last = torch.cat([context, states], dim=2), torch.cat([last, above])
        return self.output(self.output_dropout(torch.tanh(self.mix(found)))), last

    def weights(self, states: Tensor, memory: Memory) -> Tensor:
        """Attention (B, T, S) of the decoder's states (B, T, H); 0 for padding."""
        scores = multiply_rows(states, memory.keys.to(states.dtype).transpose(1, 2))
        return scores.masked_fill(memory.outside, -torch.inf).softmax(-1).to(states.dtype)

    def attention(self, inputs: Tensor, lengths: Tensor, tokens: Tensor, target_lengths: Tensor) -> Tensor:
        """(B, T, S): how much of each step of `inputs` (B, S) the decoder reads, after each of its `tokens` (B, T)."""
        memory, hidden = self.encode(inputs, lengths)
        states, _ = self.decoder(self.target_embedding(tokens), target_lengths, hidden[:1])
        return self.weights(states, memory)

    def _free_running(self, target_inputs: Tensor, memory: Memory, hidden: Tensor) -> tuple[Tensor, Tensor]:
        forced = chance(target_inputs.shape, self.teacher_forcing, target_inputs.device)
        mask = self.embedding_dropout.draw(self.target_embedding(target_inputs[:, :1]))
        one = torch.ones(len(target_inputs), dtype=torch.int64)
        token, logits = target_inputs[:, :1], list[Tensor]()
        for time in range(target_inputs.shape[1]):
            if time:
                now = slice(time, time + 1)
                token = torch.where(forced[:, now], target_inputs[:, now], logits[-1].argmax(-1))
            step, hidden = self.decode(token, one, memory, hidden, mask)
            logits.append(step)
        return torch.cat(logits, dim=1), hidden
