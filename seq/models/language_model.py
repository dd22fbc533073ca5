"""Embedding -> GRU -> linear: the next token at every position, with teacher forcing or without."""

import torch
from torch import Tensor, nn

from launch.passes import chance
from seq.config import LanguageModelConfig
from seq.models.gru import GRU
from seq.models.layers import Dropout, Embedding, Linear, LockedDropout, TokenDropout
from seq.models.ngrams import NgramEmbedding


class LanguageModel(nn.Module):
    """With `teacher_forcing` p < 1, in training each input after a row's first is the true token with probability p, else
    the model's own likeliest token (p = 0: free running)."""

    def __init__(
        self, config: LanguageModelConfig, vocab_size: int, teacher_forcing: float = 1.0, num_labels: int = 0
    ) -> None:
        super().__init__()
        self.teacher_forcing = teacher_forcing
        self.embedding = Embedding(vocab_size, config.embedding_dim, padding_idx=0)
        self.reach = max(0, config.ngrams - 1)
        if self.reach:
            self.ngrams = NgramEmbedding(
                config.embedding_dim, orders=config.ngrams, buckets=config.ngram_buckets, dropout=config.ngram_dropout
            )
        self.token_dropout = TokenDropout(config.token_dropout)
        self.embedding_dropout = LockedDropout(config.embedding_dropout)
        self.gru = GRU(config.embedding_dim, config, bidirectional=False)
        self.output_dropout = Dropout(config.output_dropout)
        self.writes_by_label = config.condition == "label"
        if self.writes_by_label:
            self.label_embedding = Embedding(num_labels, config.num_layers * self.gru.state_size)
        self.output = Linear(config.hidden_size, vocab_size)
        if config.tie_weights:
            # With N(0, 1) embeddings as output weights, the first predictions would be far from uniform.
            nn.init.normal_(self.embedding.weight, std=config.embedding_dim**-0.5)
            self.output.weight = self.embedding.weight

    def forward(
        self,
        inputs: Tensor,
        lengths: Tensor,
        hidden: Tensor | None = None,
        labels: Tensor | None = None,
        preceding: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`inputs` (B, T) token ids, `lengths` (B,) on the CPU -> logits (B, T, vocab_size), and the state after each
        row's last token (L, B, H). It begins with the state `hidden` (L, B, H), or with the state of its label (B,), or
        with zeros if both are None. `preceding` (B, at least `reach`): the tokens before the row, for its first n-grams;
        zero (padding) where there are none. None: there are none."""
        if labels is not None:
            hidden = self.label_states(labels)
        if preceding is None:
            preceding = inputs.new_zeros(len(inputs), self.reach)
        preceding = preceding[:, preceding.shape[1] - self.reach :]
        if self.training and self.teacher_forcing < 1:
            return self._free_running(inputs, hidden, preceding)
        return self._read(inputs, lengths, hidden, preceding, None)

    def label_states(self, labels: Tensor) -> Tensor:
        """The states (L, B, H) that texts of `labels` (B,) begin with."""
        states = torch.tanh(self.label_embedding(labels)).view(len(labels), -1, self.gru.state_size)
        return states.transpose(0, 1).contiguous()

    def _read(
        self, inputs: Tensor, lengths: Tensor, hidden: Tensor | None, preceding: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        embedded = self.embedding(self.token_dropout(inputs))
        if self.reach:
            embedded = embedded + self.ngrams(inputs, preceding)
        states, last = self.gru(self.embedding_dropout(embedded, mask), lengths, hidden)
        return self.output(self.output_dropout(states)), last

    def _free_running(self, inputs: Tensor, hidden: Tensor | None, preceding: Tensor) -> tuple[Tensor, Tensor]:
        forced = chance(inputs.shape, self.teacher_forcing, inputs.device)
        mask = self.embedding_dropout.draw(self.embedding(inputs[:, :1]))
        one = torch.ones(len(inputs), dtype=torch.int64)
        token = inputs[:, :1]
        logits: list[Tensor] = []
        for time in range(inputs.shape[1]):
            if time:
                own = logits[-1].argmax(-1)
                token = torch.where(forced[:, time : time + 1], inputs[:, time : time + 1], own)
            step_logits, hidden = self._read(token, one, hidden, preceding, mask)
            preceding = torch.cat([preceding, token], dim=1)[:, 1:]
            logits.append(step_logits)
        assert hidden is not None
        return torch.cat(logits, dim=1), hidden
