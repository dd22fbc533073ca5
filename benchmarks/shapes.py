"""Training speed of tagger and encoder-decoder against the same models in plain PyTorch: python -m benchmarks.shapes [--rounds N]

The plain loop is one that a careful user would write: rows sorted by length, batches prepared before, dense `nn.GRU`, attention by
`torch.bmm` or `scaled_dot_product_attention`, fused AdamW, clipping. One process, the same number of rows, without n-grams.
"""

import argparse
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from benchmarks.timing import Report, in_turn, ratio
from launch.context import describe_launch, device_of
from launch.group import process_group
from seq.command_line import config_from, exit_code
from seq.config import Config
from seq.data.corpus import prepare_corpus
from seq.data.dataset import Batch
from seq.data.loader import BatchLoader
from seq.training.precision import configure_numerics
from seq.training.step import Trainer

STEPS = 12
CASES = {
    "tagger": ("configs/punctuation.yaml", "model.ngrams=0", "data.subset=since-1990"),
    "seq2seq": ("configs/pronunciation.yaml",),
}


class PlainTagger(nn.Module):
    def __init__(self, config: Config, vocab_size: int, outputs: int) -> None:
        super().__init__()
        model = config.model
        self.embedding = nn.Embedding(vocab_size, model.embedding_dim, padding_idx=0)
        self.gru = nn.GRU(model.embedding_dim, model.hidden_size, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(model.output_dropout)
        self.output = nn.Linear(2 * model.hidden_size, outputs)

    def forward(self, batch: Batch) -> Tensor:
        states: Tensor = self.output(self.dropout(self.gru(self.embedding(batch.inputs))[0]))
        return states


class PlainSeq2Seq(nn.Module):
    """`fused`: attention by `scaled_dot_product_attention`."""

    def __init__(self, config: Config, vocab_size: int, outputs: int, *, fused: bool) -> None:
        super().__init__()
        size, dim, self.fused = config.model.hidden_size, config.model.embedding_dim, fused
        self.embedding, self.target_embedding = nn.Embedding(vocab_size, dim), nn.Embedding(outputs, dim)
        self.encoder = nn.GRU(dim, size, batch_first=True, bidirectional=True)
        self.decoder = nn.GRU(dim, size, batch_first=True)
        self.bridge, self.key = nn.Linear(2 * size, size), nn.Linear(2 * size, size, bias=False)
        self.mix, self.output = nn.Linear(3 * size, size), nn.Linear(size, outputs)
        self.dropout = nn.Dropout(config.model.output_dropout)

    def forward(self, batch: Batch) -> Tensor:
        assert batch.target_inputs is not None
        states, last = self.encoder(self.embedding(batch.inputs))
        initial = torch.tanh(self.bridge(last.transpose(0, 1).flatten(1)))[None]
        written, _ = self.decoder(self.target_embedding(batch.target_inputs), initial)
        inside = (batch.inputs > 0)[:, None]
        if self.fused:
            context = functional.scaled_dot_product_attention(
                written, self.key(states), states, attn_mask=inside, scale=1.0
            )
        else:
            scores = torch.bmm(written, self.key(states).transpose(1, 2)).masked_fill(~inside, -torch.inf)
            context = torch.bmm(scores.softmax(-1), states)
        logits: Tensor = self.output(self.dropout(torch.tanh(self.mix(torch.cat([context, written], dim=2)))))
        return logits


def plain_steps(model: nn.Module, steps: list[list[Batch]], max_norm: float) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def run() -> None:
        for shards in steps:
            for batch in shards:
                logits = model(batch)
                loss = functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="sum")
                (loss / batch.num_targets).backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()
            optimizer.zero_grad()

    return run


def measure(name: str, words: tuple[str, ...], rounds: int, report: Report) -> None:
    config = config_from(words)
    corpus, process = prepare_corpus(config.data, config.task), describe_launch()
    configure_numerics(config, device_of(process))
    with process_group(process, timeout_seconds=600.0) as device:
        batches = BatchLoader(corpus.splits["train"], config.batch, seed=1)
        trainer = Trainer(config, corpus, device)
        steps = [[shard.to(device) for shard in shards] for shards in batches.steps(0, STEPS)]
        tokens = sum(int(shards[0].sizes.tokens.sum()) for shards in steps)
        sizes = (config, corpus.tokenizer.vocab_size, corpus.outputs.size)
        plain: dict[str, nn.Module]
        if name == "tagger":
            plain = {"plain, dense": PlainTagger(*sizes)}
        else:
            plain = {f"plain, {kind}": PlainSeq2Seq(*sizes, fused=kind == "sdpa") for kind in ("bmm", "sdpa")}

        def lockstep() -> None:
            for shards in batches.steps(0, STEPS):
                trainer.update(trainer.accumulate_gradients(shards))

        variants = {other: plain_steps(model.to(device), steps, 1.0) for other, model in plain.items()}
        seconds = in_turn({"lockstep": lockstep, **variants}, rounds)
        for other in plain:
            low, middle, high = ratio(seconds, other, "lockstep")
            speed = tokens / sorted(seconds["lockstep"])[rounds // 2]
            report.add(name, other, speed, middle, f"{low:.2f} to {high:.2f}")
        trainer.close()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shapes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args(arguments).rounds
    columns = ["model", "against", "lockstep, tokens/s", "times as fast", "quartiles"]
    report = Report("shapes", f"{STEPS} steps of training on one process", columns)
    for name, words in CASES.items():
        measure(name, words, rounds, report)
    report.show()


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
