"""The config: immutable typed sections. Every key has a default, a meaning and a range; no key mentions the hardware.

The text under a field is its documentation: `train_ddp.py --help` prints it.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, model_validator

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """Frozen, refuses unknown keys, and coerces nothing (`"10"` is not a number, `true` is not 1)."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class RunConfig(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = "run"
    """Name of the run directory: letters, digits, `.`, `_`, `-`."""
    output_dir: str = "runs"
    """Folder that holds the run directories."""
    seed: Count = 1
    """Seed of everything random: initial weights, data order, dropout, free running, samples."""
    threads: Positive = 1
    """CPU threads of a process. Part of the run: another number adds in another order, and changes the last bits."""
    deterministic: bool = True
    """Use only algorithms that give the same bits every time (CUDA has others, some of them faster)."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0
    """No rank may take longer for a step, an evaluation, the samples or a save: the run ends and names the rank."""


class FilesConfig(Section):
    train: str | None = None
    """File or glob pattern to train on."""
    validation: str | None = None
    """File or glob pattern to validate on; without it, validation data are cut from the training data."""
    test: str | None = None
    """File or glob pattern for the final figures."""


class DataConfig(Section):
    source: str = "names"
    """Built in: `names`, `speeches`. Otherwise what `datasets.load_dataset` takes first: `csv`, `text`, `json`,
    `parquet`, a directory, or a hub id."""
    subset: str | None = None
    """Configuration name of a hub data set; `since-YEAR` for `speeches`."""
    revision: str | None = None
    """Git revision of a hub data set. Pin it: prepared data are kept by this name."""
    files: FilesConfig = FilesConfig()
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Column separator of csv files."""
    text: str = "text"
    """Column that holds the text."""
    label: str = "label"
    """Column that holds the label (classifiers)."""
    unit: Literal["line", "paragraph", "document", "window"] = "paragraph"
    """Where a language model's text is cut into sequences; `window`: every `max_length` tokens."""
    max_length: Positive = 256
    """Longest sequence, in tokens of text (markers not counted)."""
    evaluation_max_length: Positive | None = None
    """The same for a language model's validation and test splits, where more context costs no updates; the default is
    `max_length`."""
    too_long: Literal["auto", "error", "drop", "truncate", "split"] = "auto"
    """What to do with a longer one. `split` goes on in a further sequence (language models only);
    `auto` is `split` for language models and `error` for classifiers."""
    empty: Literal["error", "drop"] = "error"
    """What to do with a row without text. What is dropped is counted and printed."""
    tokenizer: Literal["characters", "bytes"] = "characters"
    """`characters`: those of the training text, and one unknown id; `bytes`: 256 ids, nothing unknown."""
    min_count: Positive = 1
    """Characters that occur less often in the training text become the unknown id."""
    lowercase: bool = False
    """Turn the text to lower case first."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training data that becomes the validation split where none is given: rows by a hash of their text,
    or the end of a text that is one or a few documents."""
    cache_dir: str | None = None
    """Where prepared data are kept; the default is `$XDG_CACHE_HOME/lockstep` or `~/.cache/lockstep`."""


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


class BatchConfig(Section):
    shards: Positive = 4
    """Microbatches (V) of which every step consists, a power of two. The world size must divide it."""
    tokens: Positive = 2048
    """Padded-token budget of a shard: rows x longest."""
    rows: Positive = 512
    """Most sequences in a shard."""

    @model_validator(mode="after")
    def _power_of_two(self) -> "BatchConfig":
        if self.shards & (self.shards - 1):
            raise ValueError(f"shards must be a power of two (1, 2, 4, 8, ...), not {self.shards}")
        return self


class TrainConfig(Section):
    epochs: Positive = 10
    """Passes over the training data."""
    steps: Positive | None = None
    """Stop after this many steps, whatever `epochs` says."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of forward and backward; weights, sums and updates are fp32 always."""
    teacher_forcing: Fraction = 1.0
    """Probability that a language model is fed the true previous token, else its own prediction (0: free running)."""
    max_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are scaled down to this global norm."""
    max_bad_steps: Count = 10
    """A step whose loss or gradient is not finite changes nothing; more than this many in a row end the run."""
    warm_up_largest: bool = True
    """Try the largest shard first, so that too large a batch is found in the first seconds."""


class OptimizerConfig(Section):
    lr: Annotated[float, Field(gt=0)] = 2e-3
    """Peak learning rate of AdamW, reached after `warmup_steps`."""
    betas: tuple[Dropout, Dropout] = (0.9, 0.999)
    """AdamW's averages of gradient and squared gradient."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decoupled weight decay of matrices; vectors (biases) have none."""
    warmup_steps: Count = 100
    """Steps of linear warm-up; at most half of the run."""
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    """After warm-up: `cosine` decay to the end, `constant`, or `linear`: constant, then linear over the last quarter."""
    final_lr: Fraction = 0.0
    """Learning rate at the end, as a fraction of `lr` (not for `constant`)."""


class SyncConfig(Section):
    reduction: Literal["ordered", "allreduce"] = "ordered"
    """`ordered`: gradients are added in one fixed tree, with the same bits at every world size; `allreduce`: plain
    DDP."""
    compress: Literal["none", "fp16", "bf16"] = "none"
    """Send gradients in half the bytes (`allreduce` only)."""
    check_every: Positive = 500
    """Steps between two comparisons of the parameters across ranks, to the last bit."""

    @model_validator(mode="after")
    def _compress_goes_with_allreduce(self) -> "SyncConfig":
        if self.compress != "none" and self.reduction == "ordered":
            raise ValueError("compress needs reduction=allreduce; the ordered reduction keeps every bit")
        return self


class EvaluationConfig(Section):
    every_steps: Positive = 500
    """Evaluate on the validation split this often, and at the end."""


class GenerationConfig(Section):
    prompts: tuple[str, ...] = ("",)
    """A language model's evaluation writes one sample after each of these."""
    length: Positive = 200
    """Tokens of a sample."""
    temperature: Annotated[float, Field(ge=0)] = 0.8
    """Divides the logits; 0 always takes the likeliest token."""
    top_k: Count = 0
    """Draw among the k likeliest tokens only (0: all)."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw among the likeliest tokens that together have this probability."""


class CheckpointConfig(Section):
    every_steps: Positive = 500
    """Save this often, and at the end."""
    keep: Positive = 2
    """Checkpoints to keep; older ones are deleted."""
    background: bool = True
    """Write them while training goes on."""
    required: bool = False
    """End the run if one cannot be saved; otherwise it is reported, and the run goes on."""


class LoggingConfig(Section):
    every_steps: Positive = 20
    """Steps between two lines of metrics."""
    wandb: Literal["offline", "online", "disabled"] = "offline"
    """Weights & Biases: `offline` needs neither account nor network; `online` falls back to it after 10 s."""
    digests: bool = False
    """Record a digest of every gradient at every step (`digests.jsonl`), for `python -m seq.replay`."""
    project: str = "lockstep"
    """W&B project."""


class Config(Section):
    run: RunConfig = RunConfig()
    data: DataConfig = DataConfig()
    model: Annotated[ClassifierConfig | LanguageModelConfig, Discriminator("kind")] = ClassifierConfig()
    batch: BatchConfig = BatchConfig()
    train: TrainConfig = TrainConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    sync: SyncConfig = SyncConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    generation: GenerationConfig = GenerationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    logging: LoggingConfig = LoggingConfig()

    @model_validator(mode="after")
    def _sections_agree(self) -> "Config":
        faults = []
        if self.data.max_length + 2 > self.batch.tokens:
            faults.append(
                f"batch.tokens ({self.batch.tokens}) must hold one sequence: at least data.max_length + 2 markers "
                f"({self.data.max_length + 2})"
            )
        if self.model.kind == "classifier" and self.train.teacher_forcing != 1.0:
            faults.append("train.teacher_forcing is for model.kind=language_model only; leave it at 1.0")
        if self.model.kind == "classifier" and self.data.too_long == "split":
            faults.append("data.too_long=split is for model.kind=language_model only; choose error, drop or truncate")
        if faults:
            raise ValueError("; ".join(faults))
        return self
