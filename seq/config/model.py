"""The model: its kind and its sizes."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from seq.config.section import Code, Dropout, Positive, Section

Path = Literal["auto", "dense", "packed", "scan"]
KIND_NAMES = {
    "classifier": "a classifier",
    "language_model": "a language model",
    "tagger": "a tagger",
    "seq2seq": "an encoder-decoder",
}
"""Values of `model.kind` as people say them."""
MAX_NGRAM = 8
"""Most tokens of an n-gram that a model may use."""


class GRUConfig(Section):
    own_class: Annotated[Code | None, Field(alias="class")] = None
    """A class of your own, `my_module:Net`, in my_module.py beside the config: one that derives from the class of this kind
    (docs/extending.md)."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings that your own class reads from its `config.options`."""
    embedding_dim: Positive = 64
    """Size of a token's embedding."""
    hidden_size: Positive = 128
    """Size of the GRU's state, per direction."""
    num_layers: Annotated[int, Field(gt=0, le=64)] = 1
    """Stacked GRU layers."""
    dropout: Dropout = 0.0
    """Dropout between stacked layers."""
    token_dropout: Dropout = 0.0
    """Share of the tokens that are read as unknown in training (n-grams see every token)."""
    embedding_dropout: Dropout = 0.0
    """Dropout of embedding features, one mask for a whole sequence (locked)."""
    output_dropout: Dropout = 0.0
    """Dropout before the output layer."""
    path: Path = "auto"
    """How the layers are run: `dense` computes padding, `packed` uses `nn.GRU` on packed rows, `scan` takes time linear in
    the length; `auto` chooses by the device. Results differ only in the last bits."""


class ClassifierConfig(GRUConfig):
    kind: Literal["classifier"] = "classifier"
    """One prediction for a sequence."""
    target: str = "label"
    """What `data.label` holds and the model predicts: `label`: one label; `labels`: any number of labels (multi-label); `number`: a number
    (regression)."""
    bidirectional: bool = True
    """Read the sequence in both directions."""
    ngrams: Annotated[int, Field(ge=0, le=MAX_NGRAM)] = 0
    """Add class logits of the n-grams of 1 to this many tokens (0: none); useful for short texts such as names."""
    ngram_buckets: Positive = 32768
    """Rows of the n-gram table for each order from 2 on; n-grams are hashed to rows."""
    ngram_dropout: Dropout = 0.0
    """Share of the n-grams that are left out in training, drawn for each n-gram at each position."""


class LanguageModelConfig(GRUConfig):
    kind: Literal["language_model"] = "language_model"
    """The next token at every position."""
    condition: Literal["none", "label"] = "none"
    """`label`: the data have labels, and the embedding of a text's label gives the state in which the text begins."""
    ngrams: Annotated[int, Field(ge=0, le=MAX_NGRAM)] = 0
    """Add to a token's embedding the embeddings of the n-grams of 2 to this many tokens that end with it (0: none)."""
    ngram_buckets: Positive = 8192
    """Rows of the n-gram table for each order; n-grams are hashed to rows."""
    ngram_dropout: Dropout = 0.0
    """Share of the n-gram embeddings that are left out in training, drawn for each n-gram at each position."""
    tie_weights: bool = False
    """Use the embedding as the output layer (needs embedding_dim = hidden_size)."""

    @model_validator(mode="after")
    def _sizes_match(self) -> "LanguageModelConfig":
        if self.tie_weights and self.embedding_dim != self.hidden_size:
            raise ValueError(
                f"tie_weights needs embedding_dim ({self.embedding_dim}) = hidden_size ({self.hidden_size})"
            )
        return self


class TaggerConfig(GRUConfig):
    kind: Literal["tagger"] = "tagger"
    """A tag for every token."""
    bidirectional: bool = True
    """Read the sequence in both directions."""
    ngrams: Annotated[int, Field(ge=0, le=MAX_NGRAM)] = 0
    """Add to a token's embedding the embeddings of the n-grams of 2 to this many tokens that end or begin with it (0: none)."""
    ngram_buckets: Positive = 32768
    """Rows of the n-gram table for each order and side; n-grams are hashed to rows."""
    ngram_dropout: Dropout = 0.0
    """Share of the n-gram embeddings that are left out in training, drawn for each n-gram at each position."""


class Seq2SeqConfig(GRUConfig):
    kind: Literal["seq2seq"] = "seq2seq"
    """Another sequence, token by token, with attention to the one that was read."""
    bidirectional: bool = True
    """The encoder reads the sequence in both directions. Its states and the decoder's have `hidden_size` per direction."""
    attention_dropout: Dropout = 0.0
    """Dropout of the attention's weights."""
