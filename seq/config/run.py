"""The run itself: its name, evaluation, samples, checkpoints and logs; and `Config`, which holds all sections."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, model_validator

from seq.config.data import DataConfig
from seq.config.model import ClassifierConfig, LanguageModelConfig, Seq2SeqConfig, TaggerConfig
from seq.config.section import Count, Positive, Section
from seq.config.training import BatchConfig, OptimizerConfig, SyncConfig, TrainConfig


class RunConfig(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = "run"
    """Name of the run directory: letters, digits, `.`, `_`, `-`."""
    output_dir: str = "runs"
    """Folder that holds the run directories."""
    auto_hyperparameters: bool = False
    """Choose the settings that the config does not give (steps, batches, dropout) from the size of the data, by the rules in
    docs/hyperparameters.md; `python -m seq.inspect` shows them."""
    seed: Count = 1
    """Seed of everything random: initial weights, data order, dropout, free running, samples."""
    threads: Positive = 1
    """CPU threads of a process. Another number is another run, because it changes the order of additions, and so the last bits."""
    pass_tokens: Positive = 32768
    """Time steps, with padding, that a process computes at once. Shards that fit are computed together, which is faster and takes more
    memory. It changes no bit."""
    deterministic: bool = True
    """Use only algorithms that give the same bits every time (CUDA has others, and some are faster)."""
    profile: tuple[Positive, Positive] | None = None
    """The first and the last of some steps, such as [100, 110], of which rank 0 writes a trace, `profile.json` (for ui.perfetto.dev)."""
    code: dict[str, str] = Field(default_factory=dict)
    """The Python files that `model.class` and `train.loss` name, by module. Filled in when a config is read."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0
    """Abort the run if a rank makes no progress for this many seconds; the error names the rank."""

    @model_validator(mode="after")
    def _profile_goes_up(self) -> "RunConfig":
        if self.profile and self.profile[0] > self.profile[1]:
            raise ValueError(f"profile: the first step comes first: [{self.profile[1]}, {self.profile[0]}]")
        return self


class EvaluationConfig(Section):
    every_steps: Positive = 500
    """Evaluate on the validation split this often, and at the end."""
    window: Positive = 64
    """A language model that reads whole documents (`data.unit=document`) is also evaluated on windows of this many tokens, each from a
    fresh state, to compare it with models of fixed context."""
    ignore: str = ""
    """Characters to ignore in an encoder-decoder's `plain_` error rates (for example 012, the marks of stress)."""
    beam: Positive = 1
    """Number of beams in the search for an encoder-decoder's outputs (1: greedy)."""


class GenerationConfig(Section):
    prompts: tuple[str, ...] = ("",)
    """Prompts: each evaluation of a language model writes one sample for each."""
    length: Positive = 200
    """Tokens of a sample."""
    temperature: Annotated[float, Field(ge=0)] = 0.8
    """Divides the logits; 0 always takes the likeliest token."""
    top_k: Count = 0
    """Draw among the k likeliest tokens only (0: all)."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw among the likeliest tokens that together have this probability."""
    repetition_penalty: Annotated[float, Field(ge=1)] = 1.0
    """Makes each of the last 64 tokens less likely to come again (1: no penalty)."""
    stop: str = ""
    """A sample ends before this text."""


class CheckpointConfig(Section):
    every_steps: Positive = 500
    """Save this often, and at the end."""
    keep: Positive = 2
    """Number of checkpoints to keep; older ones are deleted."""
    background: bool = True
    """Write checkpoints in the background, while training continues."""
    monitor: str | None = None
    """Keep the weights with the best value of this metric on the validation split, such as `loss`, `accuracy` or `bits_per_char`, and
    export and test them. None: use the last weights."""
    copy_to: str | None = None
    """A folder on another disk. `<copy_to>/<run.name>/` keeps a copy of the newest checkpoints and `metrics.jsonl`; a run whose own
    directory is lost or damaged continues from this copy."""
    required: bool = False
    """End the run if a checkpoint cannot be saved. Otherwise the failure is reported and the run goes on."""


class LoggingConfig(Section):
    every_steps: Positive = 20
    """Steps between two lines of metrics."""
    wandb: Literal["offline", "online", "disabled"] | None = None
    """Weights & Biases: `offline` needs neither account nor network; `online` falls back to it after 10 s. Null: the value of the
    variable WANDB_MODE, or `offline` if that is not set."""
    report: bool = True
    """Write `report.html` at the end; `python -m seq.report RUN` does it at any time."""
    digests: bool = False
    """Record a digest of every gradient at every step (`digests.jsonl`), for `python -m seq.replay`."""
    project: str | None = None
    """Name of the W&B project. Null: WANDB_PROJECT, else `lockstep`."""
    entity: str | None = None
    """User or team that owns the W&B project. Null: WANDB_ENTITY, else your own. The next three keys use WANDB_RUN_GROUP, WANDB_TAGS and
    WANDB_NOTES in the same way."""
    group: str | None = None
    """Group of W&B runs that this one belongs to."""
    tags: tuple[str, ...] | None = None
    """Tags of the W&B run."""
    notes: str | None = None
    """Notes on the W&B run."""
    alerts: Literal["none", "problems", "all"] = "problems"
    """When W&B sends a message. `problems`: after steps that were not finite, and when a run was stopped; `all`: also at the end."""
    artifacts: Literal["none", "model", "all"] = "none"
    """What W&B keeps a copy of. `model`: the exported model; `all`: the exported model and the newest checkpoint."""
    tensorboard: bool = False
    """Write TensorBoard's files too, into `tensorboard/` (needs the package `tensorboard`)."""


class Config(Section):
    run: RunConfig = RunConfig()
    data: DataConfig = DataConfig()
    model: Annotated[ClassifierConfig | LanguageModelConfig | TaggerConfig | Seq2SeqConfig, Discriminator("kind")] = (
        ClassifierConfig()
    )
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
        """The rules of a task are in `seq.tasks`."""
        faults = []
        stateful, writes = self.batch.order == "stateful", self.model.kind in ("language_model", "seq2seq")
        if stateful and self.model.kind != "language_model":
            faults.append("batch.order=stateful is for model.kind=language_model only")
        elif stateful and (self.data.unit, self.data.too_long) != ("document", "auto"):
            faults.append("batch.order=stateful reads whole documents: set data.unit=document and data.too_long=auto")
        if stateful and self.train.teacher_forcing != 1.0:
            faults.append("train.teacher_forcing below 1 needs batch.order=bucketed")
        if stateful and self.train.teacher_forcing_end is not None:
            faults.append("train.teacher_forcing_end needs batch.order=bucketed")
        if not writes and (self.train.teacher_forcing, self.train.teacher_forcing_end) != (1.0, None):
            faults.append("train.teacher_forcing is for language models and encoder-decoders only; leave it at 1.0")
        if self.checkpoint.monitor and (self.data.validation_fraction == 0 or self.data.train_on_validation):
            faults.append("checkpoint.monitor needs a validation split: set data.validation_fraction above 0")
        if self.sync.witness_every and not self.run.deterministic:
            faults.append("sync.witness_every needs run.deterministic=true, because it compares bits")
        if self.train.patience and not self.checkpoint.monitor:
            faults.append("train.patience needs checkpoint.monitor, the figure that shall get better")
        if faults:
            raise ValueError("; ".join(faults))
        return self
