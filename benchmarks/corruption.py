"""Does the witness find silent corruption? Bits are flipped in small runs, and its verdicts are compared with what was done:

python -m benchmarks.corruption [--faults 1000] [--quiet-steps 100000]

A fault is a bit of a gradient, of an activation, of a weight in memory, or of a sum over shards; on one rank; in one pass, or in all passes
from that one on, at random places (`again`) or at one place (`stuck`). Every second step is compared. The shard is computed without the fault
before, so it is known whether the fault changes it. With --quiet-steps, nothing is flipped, and every step is compared.
"""

import argparse
import copy
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.timing import Report
from launch import ordered_reduction, passes
from launch.vote import Digests, Roles, Verdict, roles_of
from seq.config.read import load_config
from seq.data.dataset import Batch
from seq.models import Model, build_model
from seq.models.layers import Embedding, Linear
from seq.run import witness
from seq.run.checkpoint import params_sha256
from seq.run.directory import RunDirectory
from seq.run.run import Run
from seq.training.pass_size import choose_pass_size

MODELS = {
    "names": [],
    "speeches": ["batch.bptt=16"],
    "punctuation": [],
    "pronunciation": [],
}
SMALL = "model.hidden_size=16 model.embedding_dim=8 batch.rows=4 batch.tokens=256 batch.shards=6 train.precision=fp32".split()
WORLD_SIZES, STEPS, EVERY = (1, 2, 3, 5), 4, 2
KINDS, TIMES = ("gradient", "activation", "weight", "sum"), ("once", "again", "stuck")
COUNTS = ("faults", "in a compared shard", "changed it", "found", "named", "false alarms", "to undo", "undone")


class Fault(NamedTuple):
    kind: str
    times: str
    rank: int
    step: int
    number: int
    """Of the pass in this step."""
    seed: int

    @classmethod
    def draw(cls, seed: int, world_size: int) -> "Fault":
        choose = random.Random(seed)
        kind, rank, step = choose.choice(KINDS), choose.randrange(world_size), choose.randrange(STEPS)
        return cls(kind, choose.choice(TIMES), rank, step, choose.randrange(3), seed)


class Injector:
    """Flips the bits of a fault in the models that it is installed in."""

    def __init__(self, fault: Fault | None, rank: int) -> None:
        self.fault = fault if fault is not None and fault.rank == rank else None
        self.step, self.number, self.on = 0, -1, False
        self.struck: list[tuple[int, range]] = []
        """Steps, and shards, in which it has flipped something."""
        self._handles: list[Any] = []

    def install(self, model: Model, *, memory: bool = True) -> Model:
        """`memory`: the weights are those that a flipped weight is among."""
        if self.fault is None:
            return model
        place = random.Random(self.fault.seed)
        self._handles.append(model.register_forward_pre_hook(self._count))
        parameters = [p for p in model.parameters() if p.requires_grad]
        layers = [module for module in model.modules() if isinstance(module, Linear | Embedding)]
        if self.fault.kind in ("gradient", "activation"):
            hook = self._in_activation if self.fault.kind == "activation" else self._in_gradient
            self._handles.append(place.choice(layers).register_forward_hook(hook))
        if self.fault.kind == "weight" and memory:
            weight = place.choice(parameters).data
            self._handles.append(model.register_forward_pre_hook(lambda *_: self._in_memory(weight)))
        return model

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _count(self, *_: Any) -> None:
        self.number += self.on

    def _in_activation(self, _: Any, __: Any, output: Tensor) -> Tensor:
        return self._in_copy(output)

    def _in_gradient(self, _: Any, __: Any, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(self._in_copy)  # type: ignore[no-untyped-call]

    def _in_memory(self, weight: Tensor) -> None:
        self._strike(weight, shards_first=False)

    def _in_copy(self, values: Tensor) -> Tensor:
        flipped = values.detach().clone(memory_format=torch.contiguous_format)
        return torch.where(flipped != values, flipped, values) if self._strike(flipped) else values

    def add(self, original: Callable[..., Tensor], *arguments: Any) -> Tensor:
        """The sum over ranks."""
        total = original(*arguments)
        if self.fault is not None and self.fault.kind == "sum":
            self._strike(total, shards_first=None)
        return total

    def _strike(self, values: Tensor, shards_first: bool | None = True) -> bool:
        """Flip a bit if it is time for it. `shards_first`: the first axis has the shards of the pass; False: all of them use the value;
        None: it belongs to none."""
        assert self.fault is not None
        due = (self.step, self.number) >= (self.fault.step, self.fault.number)
        if not self.on or not due or (self.struck and self.fault.times == "once"):
            return False
        place = random.Random(self.fault.seed if self.fault.times == "stuck" else self.fault.seed + len(self.struck))
        integers = values.view({2: torch.int16, 4: torch.int32}[values.element_size()]).view(-1)
        index = place.randrange(len(integers))
        integers[index] ^= 1 << place.randrange(8 * values.element_size() - 1)
        shards = range(0) if shards_first is None or passes._current is None else passes._current.shards
        if shards_first and shards:
            shards = shards[(own := index * len(shards) // len(integers)) : own + 1]
        self.struck.append((self.step, shards))
        return True


class FoundError(Exception):
    """The run would end here."""


class Watched(witness.Witness):
    """Notes what was compared, and what would have been right."""

    injector: Injector
    found: list[Digests]

    def _watched(self, passes: list[Batch], roles: Roles) -> tuple[Tensor, list[Digests]]:
        losses, found = super()._watched(passes, roles)
        self.found = self.found or found
        return losses, found

    def without_fault(self, step: int) -> list[Digests]:
        """Of the shard that will be compared, by every rank."""
        carried = self._trainer.state.carried
        carried.load(carried.gather())
        shard = roles_of(self._run.config.run.seed, step, self._usual).shard
        self.found = []
        return self._exchange({self._rank: self._alone(step, shard)}, len(self._usual))

    def _end(self, step: int, verdict: Verdict) -> NoReturn:
        raise FoundError


class Trials:
    """Short runs of one model in this process group."""

    def __init__(self, run: Run) -> None:
        self.run, self.trainer, self.batches = run, run.trainer(), run.batches()
        self.events: list[dict[str, Any]] = []
        choose_pass_size(self.trainer, self.batches)
        log = lambda _, step, **values: self.events.append({"step": step} | values)  # noqa: E731
        self.witness = Watched(run, self.trainer, self.batches, log)
        self._initial = self.trainer.state.state_dict()
        self._initial = copy.deepcopy(self._initial)
        self._undisturbed, _ = self._train(Injector(None, 0), 0)

    def count(self, seed: int) -> tuple[Fault, Counter[str]]:
        """Train with a fault, and see what became of it."""
        world_size, rank = self.run.process.world_size, self.run.process.rank
        fault = Fault.draw(seed, world_size)
        injector = Injector(fault, rank)
        original = ordered_reduction._RankSum._add
        with (
            patch.object(witness, "build_model", lambda *a, **k: injector.install(build_model(*a, **k), memory=False)),
            patch.object(ordered_reduction._RankSum, "_add", lambda *a: injector.add(original, *a)),
            installed(injector, self.trainer.model),
        ):
            weights, changed = self._train(injector, fault.rank)
        struck: list[Any] = [None] * world_size
        torch.distributed.all_gather_object(struck, injector.struck)
        return fault, self._judge(fault, struck[fault.rank], changed, weights)

    def reset(self) -> None:
        self.trainer.state.load_state_dict(copy.deepcopy(self._initial))
        self.events.clear()

    def _train(self, injector: Injector, rank: int) -> tuple[str, bool]:
        """The weights after the last step (empty if the run was ended), and whether a compared shard had other bits than it should."""
        self.reset()
        changed = False
        try:
            for step, batches in enumerate(self.batches.steps(0, STEPS)):
                self.trainer.set_lr(step, 10 * STEPS)
                compared = (step + 1) % EVERY == 0
                right = self.witness.without_fault(step) if compared else []
                injector.step, injector.number, injector.on = step, -1, True
                try:
                    losses = self.witness.accumulate_gradients(batches)
                finally:
                    injector.on = False
                    if compared:
                        changed |= any(own != right[(rank + 1) % len(right)] for own in self.witness.found)
                self.trainer.update(losses)
        except FoundError:
            return "", changed
        return params_sha256(self.trainer.model), changed

    def _judge(self, fault: Fault, struck: list[tuple[int, range]], changed: bool, weights: str) -> Counter[str]:
        seed = self.run.config.run.seed
        steps = [step for step, _ in struck]
        chosen = {step: roles_of(seed, step, self.witness._usual).shard for step in steps if (step + 1) % EVERY == 0}
        compared = [step for step, shards in struck if chosen.get(step, -1) in shards]
        found, named = bool(self.events), any(each["ranks"] == [fault.rank] and each["certain"] for each in self.events)
        counts = Counter[str]({"faults": bool(struck), "in a compared shard": bool(compared) or changed})
        counts |= Counter({"changed it": changed, "found": changed and found, "named": changed and named})
        counts["false alarms"] = found and not changed
        if changed and weights and len(compared) == len(struck) and fault.kind != "weight":
            counts |= Counter({"to undo": True, "undone": weights == self._undisturbed})
        return counts


@contextmanager
def installed(injector: Injector, model: Model) -> Iterator[None]:
    injector.install(model)
    yield
    injector.remove()


def work(model: str, folder: str, faults: int, first: int, quiet: int) -> None:
    """One process of the group."""
    overrides = [
        *SMALL,
        *MODELS[model],
        f"sync.witness_every={EVERY}",
        "run.timeout_seconds=1e5",
        f"run.output_dir={folder}",
    ]
    overrides += [] if model == "pronunciation" else ["model.ngram_buckets=64"]
    config = load_config(Path(f"configs/{model}.yaml"), overrides)
    run, counts = Run.open(config, RunDirectory.of(config)), defaultdict[str, Counter[str]](Counter)
    with run.joined():
        trials = Trials(run)
        for seed in range(first, first + faults):
            on_corruption = ("stop", "continue")[seed % 2]
            trials.witness._sync = config.sync.model_copy(update={"on_corruption": on_corruption})
            fault, found = trials.count(seed)
            counts[f"{fault.kind} {fault.times}"] += found
        trials.witness._sync = config.sync.model_copy(update={"witness_every": 1})
        trials.reset()
        for step, batches in enumerate(trials.batches.steps(0, quiet)):
            trials.trainer.set_lr(step, quiet)
            trials.witness.found = []
            trials.trainer.update(trials.witness.accumulate_gradients(batches))
        counts["nothing"] += Counter({"faults": 0, "false alarms": len(trials.events)})
        trials.trainer.close()
        del trials
    if run.is_main:
        Path(folder, "counts.json").write_text(json.dumps(counts))


def main(faults: int, quiet: int) -> None:
    report = Report(
        "corruption", f"{faults} faults, {STEPS} steps, every {EVERY}nd compared", ["ranks", "fault", *COUNTS]
    )
    every, groups = Counter[str](), list(product(WORLD_SIZES, MODELS))
    for world_size in WORLD_SIZES:
        counts = defaultdict[str, Counter[str]](Counter)
        for place, (size, model) in enumerate(groups):
            if size == world_size:
                own = range(faults * place // len(groups), faults * (place + 1) // len(groups))
                steps = quiet // len(MODELS) if size == 2 else 0
                for name, found in _launch(size, model, len(own), own.start, steps).items():
                    counts[name] += Counter(found)
        for name in sorted(counts):
            report.add(world_size, name, *(counts[name][column] for column in COUNTS))
            every += counts[name]
    report.add("all", "", *(every[column] for column in COUNTS))
    report.show()


def _launch(world_size: int, model: str, *numbers: int) -> dict[str, dict[str, int]]:
    with tempfile.TemporaryDirectory() as folder:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={world_size}"]
        words = ["--work", model, folder, *map(str, numbers)]
        subprocess.run([*torchrun, "-m", "benchmarks.corruption", *words], check=True)
        found: dict[str, dict[str, int]] = json.loads(Path(folder, "counts.json").read_text())
        return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--quiet-steps", type=int, default=0)
    parser.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work[:2], *map(int, options.work[2:]))
    else:
        main(options.faults, options.quiet_steps)
