"""Embedding -> GRU -> linear: a label, labels or a number for a sequence. Optionally, logits of its n-grams are added."""

from torch import Tensor, nn

from seq.config import ClassifierConfig
from seq.models.gru import GRU
from seq.models.layers import Dropout, Embedding, Linear, LockedDropout, TokenDropout
from seq.models.ngrams import NgramLogits


class Classifier(nn.Module):
    """Reads the last valid state of each direction of the top layer."""

    def __init__(self, config: ClassifierConfig, vocab_size: int, num_outputs: int) -> None:
        super().__init__()
        self.embedding = Embedding(vocab_size, config.embedding_dim, padding_idx=0)
        self.token_dropout = TokenDropout(config.token_dropout)
        self.embedding_dropout = LockedDropout(config.embedding_dropout)
        self.gru = GRU(config.embedding_dim, config, bidirectional=config.bidirectional)
        self.output_dropout = Dropout(config.output_dropout)
        self.output = Linear(self.gru.directions * config.hidden_size, num_outputs)
        size = {"orders": config.ngrams, "buckets": config.ngram_buckets}
        dropout = config.ngram_dropout
        self.ngrams = NgramLogits(vocab_size, num_outputs, dropout=dropout, **size) if config.ngrams else None

    def forward(self, inputs: Tensor, lengths: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`inputs` (B, T) token ids, `lengths` (B,) on the CPU, `hidden` (L * D, B, H), zeros if None -> logits
        (B, num_outputs), and the last states (L * D, B, H)."""
        embedded = self.embedding_dropout(self.embedding(self.token_dropout(inputs)))
        _, last = self.gru(embedded, lengths, hidden)
        # (D, B, H) of the top layer -> (B, D * H): `last[-1]` alone would drop the forward direction.
        top = self.gru.outputs_of(last[-self.gru.directions :]).transpose(0, 1).flatten(1)
        logits = self.output(self.output_dropout(top))
        return logits + self.ngrams(inputs, lengths) if self.ngrams else logits, last
