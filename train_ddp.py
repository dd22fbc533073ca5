"""Train a GRU sequence model with DistributedDataParallel: the whole run, from top to bottom.

torchrun --nproc_per_node=4 train_ddp.py [CONFIG] [section.key=value ...]     several processes
srun python train_ddp.py ...                                                  the same, started by SLURM
python train_ddp.py ...                                                       one process, for debugging
"""

import sys
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from launch.allreduce import PlainReduction
from launch.collectives import check_agreement, sum_over_ranks
from launch.context import Launch, describe_launch, process_group
from launch.digest import check_ranks_agree
from launch.lockstep import OrderedReduction
from launch.seeding import fix_arithmetic
from seq.command_line import check_world_size, config_and_overrides, exit_code, training_parser
from seq.config import Config
from seq.config_file import load_config
from seq.data.corpus import Corpus, prepare_corpus
from seq.data.dataset import SequenceDataset
from seq.data.loader import make_loader, run_steps
from seq.data.sampler import BucketedDistributedSampler
from seq.models.language_model import LanguageModel
from seq.training.checkpoint import delete_old, save_checkpoint
from seq.training.console import print_evaluation, print_result
from seq.training.evaluation import evaluate
from seq.training.export import export_model
from seq.training.ledger import Ledger
from seq.training.logger import open_logger
from seq.training.optimizer import lr_at, set_lr
from seq.training.progress import Speed
from seq.training.result import make_result
from seq.training.run_directory import RunDirectory
from seq.training.state import TrainState, describe_run, fingerprint, load_for_resume
from seq.training.step import train_step
from seq.training.text import write_samples


def main(arguments: list[str]) -> None:
    """Whatever is wrong with config or data is found here, before the processes join."""
    ledger = Ledger()
    options = training_parser().parse_intermixed_args(arguments)
    config = load_config(*config_and_overrides(options.words))
    launch = describe_launch()
    check_world_size(launch.world_size, config.batch.shards)
    directory = RunDirectory.of(config, fresh=options.fresh)
    directory.check(config)
    if (result := directory.read_result()) and result["status"] == "finished":
        return print_result(directory.path, result, launch.is_main, already=True)
    corpus = prepare_corpus(config.data, labelled=config.model.kind == "classifier")
    checkpoint = load_for_resume(directory.newest_checkpoint(), config, corpus)
    fix_arithmetic(threads=config.run.threads, deterministic=config.run.deterministic)
    with process_group(launch, timeout_seconds=config.run.timeout_seconds) as device:
        train(config, corpus, checkpoint, directory, launch, device, ledger)


def train(
    config: Config,
    corpus: Corpus,
    checkpoint: dict[str, Any] | None,
    directory: RunDirectory,
    launch: Launch,
    device: torch.device,
    ledger: Ledger,
) -> None:
    # ---- model and data -------------------------------------------------------------------------------------------
    state = TrainState.create(config, corpus, device)
    ddp = DistributedDataParallel(state.model)
    ordered = config.sync.reduction == "ordered"
    reduction = OrderedReduction(ddp) if ordered else PlainReduction(ddp, compress=config.sync.compress)
    dataset = SequenceDataset(corpus.splits["train"])
    sampler = BucketedDistributedSampler(dataset, config.batch, seed=config.run.seed)
    loader = make_loader(dataset, sampler, ahead=device.type == "cuda")
    total_steps = config.train.steps or config.train.epochs * sampler.steps_per_epoch

    # ---- start, or go on after the newest checkpoint --------------------------------------------------------------
    if checkpoint is not None:
        state.load_state_dict(checkpoint)
        ledger.add_earlier(checkpoint["ledger"])
    progress, description = state.progress, describe_run(config, corpus)
    check_agreement("config, data and step to start from", fingerprint(description, progress.step), device)
    if launch.is_main:
        directory.begin(config)
    logger = open_logger(directory.path, config, corpus, total_steps, is_main=launch.is_main)
    logger.event("resume" if checkpoint else "start", progress.step, world_size=launch.world_size, device=str(device))

    # ---- train ----------------------------------------------------------------------------------------------------
    speed, newest = Speed(progress.tokens_seen, ledger), None
    for shards in ledger.each("data", run_steps(loader, sampler, start=progress.step, stop=total_steps)):
        with ledger("compute"):
            lr = lr_at(progress.step, total_steps, config.optimizer)
            set_lr(state.optimizer, lr)
            done = train_step(ddp, reduction, state, [shard.to(device) for shard in shards], config)
        progress.advance(sampler.shards_of(progress.step))

        if is_due(progress.step, config.logging.every_steps, total_steps):
            with ledger("compute"):
                loss = sum_over_ranks(done.shard_losses).sum().item()
            figures = progress.figures() | {"tokens_per_second": speed.read(progress.tokens_seen, ledger)}
            logger.event("train", progress.step, loss=loss, grad_norm=done.grad_norm.item(), lr=lr, **figures)

        if done.digests is not None:
            logger.digests(progress.step, done.digests)
        if is_due(progress.step, config.sync.check_every, total_steps):
            with ledger("compute"):
                check_ranks_agree(state.model.named_parameters(), progress.step, device)

        if is_due(progress.step, config.evaluation.every_steps, total_steps):
            with ledger("evaluation"):
                newest = evaluate(state.model, corpus.splits["validation"], config, device)
                logger.evaluation(progress.step, "validation", newest)
            if isinstance(state.model, LanguageModel) and launch.is_main:
                with ledger("sampling"):
                    samples = write_samples(state.model, corpus.tokenizer, config, progress.step)
                    logger.samples(progress.step, list(samples))
                    state.model.train()

        if is_due(progress.step, config.checkpoint.every_steps, total_steps) and launch.is_main:
            with ledger("checkpoint"):
                path = directory.checkpoint_at(progress.step)
                save_checkpoint(path, state.state_dict() | description | {"ledger": ledger.summary()})
                delete_old(directory.checkpoints, config.checkpoint.keep)
            logger.event("checkpoint", progress.step, file=path.name)

    # ---- final figures --------------------------------------------------------------------------------------------
    split = "test" if "test" in corpus.splits else "validation"
    if split == "test" or newest is None:
        with ledger("evaluation"):
            newest = evaluate(state.model, corpus.splits[split], config, device)
        logger.evaluation(progress.step, split, newest)
    result = make_result(state, newest, split, world_size=launch.world_size, steps_per_epoch=sampler.steps_per_epoch)
    logger.event("finish", progress.step, params_sha256=result["params_sha256"])
    logger.close(result)
    reduction.close()
    if launch.is_main:
        export_model(directory.path / "model", state.model, description)
        directory.write_result(result | ledger.figures())
        print_evaluation(f"{config.run.name}: {split}", newest, corpus.labels)
        print_result(directory.path, result)


def is_due(step: int, every: int, total_steps: int) -> bool:
    """Every so many steps, and at the end."""
    return step % every == 0 or step == total_steps


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
