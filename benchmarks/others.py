"""The loops that `benchmarks.peers` compares with: plain PyTorch, and the same model under other libraries."""

import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, Sampler

from benchmarks.timing import DEVICE
from launch.device import to_device
from seq.config import Config
from seq.data.corpus import Corpus
from seq.tasks.losses import cross_entropy

Example = tuple[Tensor, Tensor]
"""Token ids, and the label or the next tokens."""


@dataclass(frozen=True)
class Problem:
    """A data set, a model, and how many sequences one timing takes."""

    name: str
    kind: str
    settings: tuple[str, ...]
    rows: int
    batches: int


class Plain(nn.Module):
    """The model as one writes it: packed rows through one `nn.GRU`."""

    def __init__(self, config: Config, vocab_size: int, num_labels: int) -> None:
        super().__init__()
        model = config.model
        both = model.kind == "classifier"
        self.embedding = nn.Embedding(vocab_size, model.embedding_dim, padding_idx=0)
        sizes = (model.embedding_dim, model.hidden_size, model.num_layers)
        self.gru = nn.GRU(*sizes, batch_first=True, bidirectional=both)
        self.output = nn.Linear(model.hidden_size * (1 + both), num_labels or vocab_size)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embedding(inputs), lengths, batch_first=True, enforce_sorted=False)
        states, last = self.gru(packed)
        if self.gru.bidirectional:
            return self.output(torch.cat([last[-2], last[-1]], dim=1))  # type: ignore[no-any-return]
        return self.output(pad_packed_sequence(states, batch_first=True)[0])  # type: ignore[no-any-return]

    def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Nothing here waits for a GPU, since the lengths stay on the CPU."""
        inputs, lengths, targets = batch
        inputs, targets = (tensor.to(DEVICE, non_blocking=True) for tensor in (inputs, targets))
        return cross_entropy(self(inputs, lengths), targets) / (
            len(targets) if targets.dim() == 1 else int(lengths.sum())
        )


class Padded(Plain):
    """What a careful user writes: batches of nearly one length, so that padded rows can go through `nn.GRU` as they are."""

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        states, _ = self.gru(self.embedding(inputs))
        if not self.gru.bidirectional:
            return self.output(states)  # type: ignore[no-any-return]
        forward, backward = states.chunk(2, dim=2)
        ends = to_device(lengths - 1, states.device)[:, None, None].expand(-1, 1, forward.shape[2])
        return self.output(torch.cat([forward.gather(1, ends)[:, 0], backward[:, 0]], dim=1))  # type: ignore[no-any-return]


def sorted_loader(examples: list[Example], rows: int) -> Any:
    """Batches of neighbours in length, in random order."""
    order = sorted(range(len(examples)), key=lambda place: len(examples[place][0]))
    batches = [order[start : start + rows] for start in range(0, len(order), rows)]
    pinned = {"pin_memory": DEVICE.type == "cuda"}
    return DataLoader(examples, batch_sampler=_Shuffled(batches), collate_fn=collate, **pinned)  # type: ignore[arg-type]


class _Shuffled(Sampler[list[int]]):
    def __init__(self, batches: list[list[int]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return (self.batches[place] for place in torch.randperm(len(self.batches)).tolist())


def padding_loader(examples: list[Example], rows: int) -> Any:
    """Random batches, padded one by one."""
    return DataLoader(examples, rows, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]


def collate(examples: list[Example]) -> tuple[Tensor, Tensor, Tensor]:
    inputs, targets = [list(part) for part in zip(*examples, strict=True)]
    lengths = torch.tensor([len(row) for row in inputs])
    padded = pad_sequence(inputs, batch_first=True)
    return (
        padded,
        lengths,
        pad_sequence(targets, batch_first=True, padding_value=-100) if targets[0].dim() else torch.stack(targets),
    )


def examples_of(corpus: Corpus) -> Iterator[Example]:
    split = corpus.splits["train"]
    flat = torch.from_numpy(split.sequences.values.astype(np.int64))
    for number, (start, stop) in enumerate(zip(split.sequences.offsets[:-1], split.sequences.offsets[1:], strict=True)):
        if split.targets is None:
            yield flat[start : stop - 1], flat[start + 1 : stop]
        else:
            yield flat[start:stop], torch.tensor(int(np.asarray(split.targets)[number]))


def _new(config: Config, corpus: Corpus) -> tuple[Plain, torch.optim.Optimizer]:
    model = Plain(config, corpus.tokenizer.vocab_size, len(corpus.labels)).to(DEVICE)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3)


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def plain(problem: Problem, config: Config, corpus: Corpus, loader: Any) -> Callable[[], int]:
    model, optimizer = _new(config, corpus)
    return _loop(problem, model, optimizer, loader, bf16=False)


def careful(problem: Problem, config: Config, corpus: Corpus, loader: Any, *, bf16: bool) -> Callable[[], int]:
    model = Padded(config, corpus.tokenizer.vocab_size, len(corpus.labels)).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    return _loop(problem, model, optimizer, loader, bf16=bf16)


def _loop(
    problem: Problem, model: Plain, optimizer: torch.optim.Optimizer, loader: Any, *, bf16: bool
) -> Callable[[], int]:
    batches = _endless(loader)

    def train() -> int:
        tokens = 0
        for _ in range(problem.batches):
            batch = next(batches)
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=bf16):
                loss = model.loss(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            tokens += int(batch[1].sum())
        return tokens

    return train


def hugging_face_loader(examples: list[Example], rows: int) -> Any:
    from tokenizers import Tokenizer, models
    from transformers import DataCollatorWithPadding, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"[PAD]": 0})), pad_token="[PAD]")
    collator = DataCollatorWithPadding(tokenizer)
    rows_of = [{"input_ids": ids.tolist(), "labels": int(label)} for ids, label in examples]

    def collate_(batch: list[Any]) -> tuple[Tensor, Tensor, Tensor]:
        padded = collator(batch)
        return padded["input_ids"], padded["attention_mask"].sum(1), padded["labels"]

    return DataLoader(rows_of, rows, shuffle=True, collate_fn=collate_)  # type: ignore[arg-type]


def accelerate(problem: Problem, config: Config, corpus: Corpus, examples: list[Example]) -> Callable[[], int]:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    model, optimizer = _new(config, corpus)
    loader = padding_loader(examples, problem.rows)
    prepared, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    batches = _endless(loader)

    def train() -> int:
        tokens = 0
        for _ in range(problem.batches):
            inputs, lengths, targets = next(batches)
            lengths = lengths.cpu()  # accelerate moves the whole batch
            count = len(targets) if targets.dim() == 1 else int(lengths.sum())
            accelerator.backward(cross_entropy(prepared(inputs, lengths), targets) / count)
            accelerator.clip_grad_norm_(prepared.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            tokens += int(lengths.sum())
        return tokens

    return train


def lightning(problem: Problem, config: Config, corpus: Corpus, examples: list[Example]) -> Callable[[], int]:
    """`Trainer.fit` without logging, checkpoints and progress bar."""
    from lightning.pytorch import LightningModule, Trainer

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    model, _ = _new(config, corpus)

    class Module(LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model, self.tokens = model, 0

        def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> Tensor:
            inputs, lengths, targets = batch
            self.tokens += int(lengths.sum())
            return model.loss((inputs, lengths.cpu(), targets))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    module = Module()

    def train() -> int:
        before = module.tokens
        off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        quiet: dict[str, Any] = dict.fromkeys(off, False)
        trainer = Trainer(
            max_epochs=1, limit_train_batches=problem.batches, gradient_clip_val=1.0, **quiet, accelerator="auto"
        )
        trainer.fit(module, padding_loader(examples, problem.rows))
        return module.tokens - before

    return train
