"""`Run`: the parts of a run on one rank, opened in one way by all programs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from launch.context import Launch, describe_launch
from launch.device import device_of
from launch.group import process_group
from seq.config import Config
from seq.config.own_code import own_code
from seq.data.corpus import Corpus, prepare_corpus
from seq.data.loader import BatchLoader
from seq.errors import UserError
from seq.models import build_model
from seq.run.directory import RunDirectory
from seq.run.initial import InitialModel
from seq.run.ledger import Ledger
from seq.tasks import Task, task_of
from seq.training.hyperparameters import with_hyperparameters
from seq.training.precision import configure_numerics
from seq.training.step import Trainer


@dataclass(frozen=True, kw_only=True)
class Run:
    config: Config
    task: Task
    corpus: Corpus
    initial: InitialModel
    directory: RunDirectory
    process: Launch
    device: torch.device
    ledger: Ledger = field(default_factory=Ledger)

    @classmethod
    def open(cls, config: Config, directory: RunDirectory) -> "Run":
        """Prepare all that comes before the processes join. UserError for any fault in the config or the data, on every rank alike."""
        process, task = describe_launch(), task_of(config)
        initial = InitialModel.load(config, directory)
        corpus = prepare_corpus(config.data, task, like=initial.trained)
        _check_own_code(config, corpus)
        if config.checkpoint.monitor and "validation" not in corpus.splits:
            raise UserError(
                f"checkpoint.monitor={config.checkpoint.monitor}: there are no validation rows ({'; '.join(corpus.notes)}); give "
                "data.files.validation, or set checkpoint.monitor=null"
            )
        return cls(
            config=with_hyperparameters(config, corpus),
            task=task,
            corpus=corpus,
            initial=initial,
            directory=directory,
            process=process,
            device=device_of(process.local_rank),
        )

    @property
    def is_main(self) -> bool:
        """True on rank 0, which alone writes files and logs."""
        return self.process.is_main

    @contextmanager
    def joined(self) -> Iterator[None]:
        """A context in which the processes form a group. No GPU may start before the arithmetic is fixed."""
        configure_numerics(self.config, self.device)
        about = self.config.run
        run, position = f"{about.output_dir}/{about.name}", self.ledger.position
        with process_group(self.process, timeout_seconds=about.timeout_seconds, position=position, run=run):
            yield

    def trainer(self) -> Trainer:
        """A trainer before the first step, with the weights that the run begins with."""
        trainer = Trainer(self.config, self.task, self.corpus, self.device)
        self.initial.copy_weights_to(trainer.model, self.corpus.labels)
        return trainer

    def batches(self) -> BatchLoader:
        """The training batches."""
        return BatchLoader(self.corpus.splits["train"], self.config.batch, seed=self.config.run.seed)


def _check_own_code(config: Config, corpus: Corpus) -> None:
    """UserError if the code that `model.class` and `train.loss` name cannot be used. Builds the model without memory."""
    loss = own_code(config, "train.loss")
    if isinstance(loss, type) or not (loss is None or callable(loss)):
        raise UserError(f"train.loss={config.train.loss}: is no function; name a function of logits and targets")
    if config.model.own_class is None:
        return
    try:
        with torch.device("meta"):
            build_model(config, vocab_size=corpus.tokenizer.vocab_size, num_outputs=corpus.outputs.size)
    except Exception as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"model.class={config.model.own_class}: {type(error).__name__}: {error}") from error


def require_one_process(what: str) -> None:
    """UserError if torchrun or SLURM has started this program."""
    if describe_launch().launcher != "python":
        raise UserError(f"{what} runs on one process: start it with plain python")
