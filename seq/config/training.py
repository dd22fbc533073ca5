"""How it is trained: batches, steps, updates, and the sum over ranks."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from seq.config.section import Code, Count, Dropout, Fraction, Positive, Section


class BatchConfig(Section):
    order: Literal["bucketed", "stateful"] = "bucketed"
    """`bucketed`: shards of neighbours in length, steps shuffled. `stateful` (language models, `data.unit=document`): each
    shard reads `rows` texts from beginning to end, `bptt` tokens a step, and carries the GRU's state along."""
    shards: Positive = 4
    """Microbatches (V) in every step. At most this many processes can share a step."""
    tokens: Positive = 2048
    """Maximum number of padded tokens in a shard: rows x longest row."""
    rows: Positive = 512
    """Most sequences in a shard; in stateful order, the number of texts that a shard reads side by side."""
    bptt: Positive = 64
    """Tokens of each text in a step, in stateful order. Gradients go back this far."""
    fresh_state: Fraction = 0.0
    """Share of those parts of `bptt` tokens that are read from a state of zeros, though their text goes on. So the model also learns to
    begin in the middle of a text, as after a prompt."""


class TrainConfig(Section):
    epochs: Positive = 10
    """Passes over the training data."""
    steps: Positive | None = None
    """Stop after this many steps, whatever `epochs` says."""
    init_from: str | None = None
    """Begin with the weights of this run (`runs/NAME`), with the same `model` and the same characters. Labels that it does
    not know start with new weights."""
    loss: Code | None = None
    """A loss of your own, `my_module:loss`, in my_module.py beside the config. It gets what `Task.loss` gets, and returns a sum
    (docs/extending.md). Evaluations keep the task's own figures."""
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    """Arithmetic of forward and backward pass; weights, sums and updates are always fp32. `tf32`: fp32 with shortened mantissas in
    products, on GPUs."""
    fast_fp32: bool = False
    """On CPUs, compute fp32 products with oneDNN, which is up to twice as fast. Processors with AMX (Intel Sapphire Rapids and
    later) refuse it, because oneDNN would compute the products there with the 8-bit mantissas of bf16."""
    teacher_forcing: Fraction = 1.0
    """Probability that a language model or a decoder reads the true previous token instead of its own prediction (0: free running)."""
    teacher_forcing_end: Fraction | None = None
    """The value of `teacher_forcing` at the end of the run, reached linearly (scheduled sampling). None: it stays constant."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a target's probability that is spread over all classes in training."""
    average_last: Fraction = 0.0
    """Evaluate and export the mean of the weights over this last share of the steps, of which every tenth counts (0: the weights as they
    are)."""
    patience: Count = 0
    """Stop early after this many evaluations without improvement (0: never). Needs `checkpoint.monitor`."""
    class_weights: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Each row of a classifier's training data, or token of a tagger's, counts 1 / (rows of its label)^p: 0 is the plain loss, 1 counts all
    labels alike (balanced), 0.5 lies between. Scaled so that the mean weight of a row is 1. It finds more of the rare labels."""
    clip_grad_norm: Annotated[float, Field(gt=0, le=1e30)] = 1.0
    """Gradients with a larger global norm are scaled down to this norm."""
    max_bad_steps: Count = 10
    """A step whose loss or gradient is not finite changes nothing; more than this many in a row end the run."""
    memory_check: bool = True
    """Try the largest pass first, so that a batch that is too large is found in the first seconds."""


class OptimizerConfig(Section):
    lr: Annotated[float, Field(gt=0, le=1e30)] = 2e-3
    """Peak learning rate of AdamW, reached after `warmup_steps`."""
    betas: tuple[Dropout, Dropout] = (0.9, 0.999)
    """Decay rates of AdamW's averages of the gradient and of its square. N-gram tables use the second only."""
    ngram_lr_scale: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """The rate of n-gram tables, as a multiple of `lr`. In a long text each of its many n-grams counts little, so it must be
    learned faster."""
    weight_decay: Annotated[float, Field(ge=0, le=1e6)] = 0.01
    """Decoupled weight decay of matrices; vectors (biases) have none."""
    warmup_steps: Count = 100
    """Steps of linear warm-up; at most half of the run."""
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    """After warm-up: `cosine` decay to the end, `constant`, or `linear`: constant, then linear over the last quarter."""
    final_lr: Fraction = 0.0
    """Learning rate towards which the schedule falls, as a fraction of `lr` (not for `constant`)."""


class SyncConfig(Section):
    reduction: Literal["ordered", "allreduce"] = "ordered"
    """`ordered`: gradients are added in one fixed tree, which gives the same bits at every world size; `allreduce`: plain
    DDP."""
    compress: Literal["none", "fp16", "bf16"] = "none"
    """Send gradients in half the bytes, with rounded values (`allreduce` only)."""
    check_every: Positive = 500
    """Steps between two comparisons of the parameters across ranks, to the last bit."""
    witness_every: Count = 0
    """Every so many steps, a second process computes one of the shards too, and the bits are compared, to find a device that computes
    wrongly (0: never; docs/silent-corruption.md). All machines need the same processors and software."""
    on_corruption: Literal["stop", "continue"] = "stop"
    """What to do if it finds one. `stop`: end the run with exit code 3; `continue`: other processes compute the step again, unless the
    device repeats its mistake."""

    @model_validator(mode="after")
    def _compress_goes_with_allreduce(self) -> "SyncConfig":
        if self.compress != "none" and self.reduction == "ordered":
            raise ValueError("compress needs reduction=allreduce; the ordered reduction keeps every bit")
        if self.witness_every and self.reduction == "allreduce":
            raise ValueError("witness_every needs reduction=ordered, which keeps the gradients of each shard apart")
        return self
