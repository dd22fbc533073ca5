"""What is trained."""

from typing import Literal

from pydantic import model_validator

from seq.config.section import Dropout, Positive, Section

Path = Literal["auto", "dense", "packed", "scan"]


class GRUConfig(Section):
    embedding_dim: Positive = 64
    """Size of a token's embedding."""
    hidden_size: Positive = 128
    """Size of the GRU's state, per direction."""
    num_layers: Positive = 1
    """Stacked GRU layers."""
    dropout: Dropout = 0.0
    """Dropout between stacked layers."""
    embedding_dropout: Dropout = 0.0
    """Dropout of embedding features, one mask for a whole sequence (locked)."""
    output_dropout: Dropout = 0.0
    """Dropout before the output layer."""
    path: Path = "auto"
    """How the layers are run: `dense` computes padding, `packed` leaves it to `nn.GRU`, `scan` is linear in the length;
    `auto` chooses by the shard's shape. One result but for the last bits."""


class ClassifierConfig(GRUConfig):
    kind: Literal["classifier"] = "classifier"
    """One label for a sequence."""
    bidirectional: bool = True
    """Read the sequence in both directions."""


class LanguageModelConfig(GRUConfig):
    kind: Literal["language_model"] = "language_model"
    """The next token at every position."""
    tie_weights: bool = False
    """Use the embedding as the output layer (needs embedding_dim = hidden_size)."""

    @model_validator(mode="after")
    def _sizes_match(self) -> "LanguageModelConfig":
        if self.tie_weights and self.embedding_dim != self.hidden_size:
            raise ValueError(
                f"tie_weights needs embedding_dim ({self.embedding_dim}) = hidden_size ({self.hidden_size})"
            )
        return self
