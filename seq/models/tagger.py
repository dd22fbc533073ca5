"""Embedding -> bidirectional GRU -> linear: a tag for every token. If asked for, with the n-grams on both sides of a token."""

from torch import Tensor, nn

from seq.config import TaggerConfig
from seq.models.gru import GRU
from seq.models.layers import Dropout, Embedding, Linear, LockedDropout, TokenDropout
from seq.models.ngrams import NgramEmbedding


class Tagger(nn.Module):
    """Reads the states of both directions at each position."""

    def __init__(self, config: TaggerConfig, vocab_size: int, num_outputs: int) -> None:
        super().__init__()
        self.embedding = Embedding(vocab_size, config.embedding_dim, padding_idx=0)
        self.reach = max(0, config.ngrams - 1)
        if self.reach:
            size = {"orders": config.ngrams, "buckets": config.ngram_buckets}
            self.before, self.after = (
                NgramEmbedding(config.embedding_dim, dropout=config.ngram_dropout, **size) for _ in range(2)
            )
        self.token_dropout = TokenDropout(config.token_dropout)
        self.embedding_dropout = LockedDropout(config.embedding_dropout)
        self.gru = GRU(config.embedding_dim, config, bidirectional=config.bidirectional)
        self.output_dropout = Dropout(config.output_dropout)
        self.output = Linear(self.gru.directions * config.hidden_size, num_outputs)

    def forward(self, inputs: Tensor, lengths: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`inputs` (B, T) token ids, `lengths` (B,) on the CPU, `hidden` (L * D, B, H), zeros if None -> logits
        (B, T, num_outputs), undefined after a row's end, and the last states (L * D, B, H)."""
        embedded = self.embedding(self.token_dropout(inputs))
        if self.reach:
            embedded = embedded + self._around(inputs)
        states, last = self.gru(self.embedding_dropout(embedded), lengths, hidden)
        return self.output(self.output_dropout(states)), last

    def _around(self, inputs: Tensor) -> Tensor:
        """The embeddings of the n-grams that end with each token, and of those that begin with it. Padding is read as no token,
        on either side."""
        none = inputs.new_zeros(inputs.shape[0], self.reach)  # a shape, which an exporter can follow
        total: Tensor = self.before(inputs, none) + self.after(inputs.flip(1), none).flip(1)
        return total
