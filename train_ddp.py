"""Train a GRU sequence model with DistributedDataParallel: the whole run, from top to bottom.

torchrun --nproc_per_node=4 train_ddp.py [CONFIG] [section.key=value ...]     several processes
srun python train_ddp.py ...                                                  the same, started by SLURM
python train_ddp.py ...                                                       one process, for debugging
"""

import sys

import torch
from torch.nn.parallel import DistributedDataParallel

from launch.allreduce import PlainReduction
from launch.collectives import check_agreement, sum_over_ranks
from launch.context import Launch, describe_launch, device_of, hints
from launch.digest import check_ranks_agree
from launch.group import process_group
from launch.lockstep import OrderedReduction
from launch.preemption import Preemption
from seq.command_line import check_world_size, config_and_overrides, exit_code, training_parser
from seq.config import Config
from seq.config_file import load_config
from seq.data.corpus import Corpus
from seq.data.dataset import SequenceDataset
from seq.data.loader import make_loader, make_sampler, run_steps, total_steps
from seq.errors import warn
from seq.models.language_model import LanguageModel
from seq.report.write import report_at_end
from seq.training.bad_steps import BadSteps
from seq.training.console import print_evaluation, print_result
from seq.training.evaluation import evaluate
from seq.training.export import export_model
from seq.training.initial import corpus_for, keep_initial, load_initial
from seq.training.judging import Judge
from seq.training.ledger import Ledger
from seq.training.logger import open_logger
from seq.training.memory import warm_up_largest
from seq.training.optimizer import lr_at, set_lr
from seq.training.precision import fix_arithmetic_of
from seq.training.progress import Speed
from seq.training.result import describe_result, make_result
from seq.training.run_directory import RunDirectory
from seq.training.saving import CheckpointSaver
from seq.training.state import Checkpoint, TrainState, describe_run, fingerprint, load_for_resume
from seq.training.step import accumulate_gradients, update
from seq.training.tensorboard_sink import require_tensorboard
from seq.training.text import Writer, write_samples
from seq.training.trained import TrainedModel


def main(arguments: list[str]) -> None:
    """Whatever is wrong with config or data is found here, before the processes join."""
    ledger = Ledger()
    options = training_parser().parse_intermixed_args(arguments)
    config = load_config(*config_and_overrides(options.words))
    launch = describe_launch()
    check_world_size(launch.world_size, config.batch.shards)
    if config.logging.tensorboard:
        require_tensorboard()
    directory = RunDirectory.of(config, fresh=options.fresh)
    directory.check(config)
    if (result := directory.read_result()) and result["status"] == "finished":
        return print_result(directory.path, result, launch.is_main, already=True)
    initial = load_initial(config, directory)
    corpus = corpus_for(config, initial)
    for hint in hints(launch) if launch.is_main else ():
        warn(hint)
    with directory.locked_by(launch.is_main):
        resumed_from = load_for_resume(directory.to_resume_from(), config, corpus)
        fix_arithmetic_of(config, device_of(launch))
        limit = config.run.timeout_seconds
        with process_group(launch, timeout_seconds=limit, position=ledger.position) as device:
            finished = train(config, corpus, initial, resumed_from, directory, launch, device, ledger)
        if finished and launch.is_main and config.logging.report:
            report_at_end(directory.path)


def train(
    config: Config,
    corpus: Corpus,
    initial: TrainedModel | None,
    resumed_from: Checkpoint | None,
    directory: RunDirectory,
    launch: Launch,
    device: torch.device,
    ledger: Ledger,
) -> bool:
    """True if the run is finished, False if a signal stopped it before."""
    # ---- model and data -------------------------------------------------------------------------------------------
    state = TrainState.create(config, corpus, device, initial)
    dataset = SequenceDataset(corpus.splits["train"])
    sampler = make_sampler(dataset, config.batch, seed=config.run.seed)
    loader = make_loader(dataset, sampler, ahead=device.type == "cuda")
    last_step = total_steps(config.train, sampler)
    if config.train.warm_up_largest:
        warm_up_largest(state.model, dataset, sampler, config, device)
    ddp = DistributedDataParallel(state.model, gradient_as_bucket_view=True)
    ordered = config.sync.reduction == "ordered"
    reduction = OrderedReduction(ddp) if ordered else PlainReduction(ddp, compress=config.sync.compress)

    # ---- start, or go on after the newest checkpoint --------------------------------------------------------------
    if resumed_from is not None:
        state.load_state_dict(resumed_from.state)
    progress, description = state.progress, describe_run(config, corpus)
    check_agreement("config, data and step to start from", fingerprint(description, progress.step), device)
    ledger.step = start = progress.step
    if launch.is_main:
        directory.begin(config, resumed_from.path if resumed_from else None)
        keep_initial(directory, initial)
        ledger.add_earlier(resumed_from.state["ledger"] if resumed_from else {}, directory.wall_seconds())
    logger = open_logger(directory.path, config, corpus, ledger, start, last_step, launch.is_main)
    event = "resume" if resumed_from or ledger.spent("lost") else "start"
    logger.event(event, start, world_size=launch.world_size, device=str(device))
    saver = CheckpointSaver(directory, config.checkpoint, logger, launch.is_main)
    bad_steps = BadSteps(directory, config, corpus, state, dataset, sampler, launch.is_main)
    preemption, judge = Preemption(), Judge(corpus)

    # ---- train ----------------------------------------------------------------------------------------------------
    speed, newest, stopped_by = Speed(progress.tokens_seen, ledger), None, None
    ledger.started()
    for shards in ledger.each("data", run_steps(loader, sampler, start=start, stop=last_step)):
        with ledger("compute"):
            lr = lr_at(progress.step, last_step, config.optimizer)
            set_lr(state.optimizer, lr)
            losses = accumulate_gradients(ddp, reduction, state, [shard.to(device) for shard in shards], config)
            preemption.ask()
            done = update(state, losses, config)
        ledger.rebook("compute", "sync", reduction.waited)
        progress.advance(shards[0].pieces)
        bad_steps.note(progress.step, done)
        stopped_by = preemption.answer() if progress.step < last_step else None

        if is_due(progress.step, config.logging.every_steps, last_step):
            with ledger("compute"):
                bad_steps.settle()
                loss = sum_over_ranks(done.shard_losses).sum().item()
            figures = progress.figures() | {"tokens_per_second": speed.read(progress.tokens_seen, ledger)}
            logger.event("train", progress.step, loss=loss, grad_norm=done.grad_norm.item(), lr=lr, **figures)

        if done.digests is not None:
            logger.digests(progress.step, done.digests)
        if is_due(progress.step, config.sync.check_every, last_step):
            with ledger("compute"):
                check_ranks_agree(state.model.named_parameters(), progress.step, device)

        if is_due(progress.step, config.evaluation.every_steps, last_step):
            with ledger("evaluation"):
                newest = evaluate(state.model, corpus.splits["validation"], config, device)
                logger.evaluation(progress.step, "validation", newest)
            if isinstance(state.model, LanguageModel) and launch.is_main:
                with ledger("sampling"):
                    writer = Writer(state.model, corpus.tokenizer, config.data.unit)
                    written = list(write_samples(writer, corpus.labels, config, progress.step))
                    samples, judged = judge.judge(written)
                    logger.samples(progress.step, samples)
                    logger.event("judge", progress.step, **judged)
                    state.model.train()

        if is_due(progress.step, config.checkpoint.every_steps, last_step) or stopped_by:
            with ledger("checkpoint"):
                bad_steps.settle()
                saver.save(progress.step, state.state_dict() | description | {"ledger": ledger.summary()})
        saver.report()
        if stopped_by:
            break

    # ---- final figures --------------------------------------------------------------------------------------------
    with ledger("checkpoint"):
        saver.close()
    split = "test" if "test" in corpus.splits and not stopped_by else "validation"
    if not stopped_by and (split == "test" or newest is None):
        with ledger("evaluation"):
            newest = evaluate(state.model, corpus.splits[split], config, device)
        logger.evaluation(progress.step, split, newest)
    result = make_result(state, newest, split, stopped_by, launch.world_size, sampler.steps_per_epoch)
    logger.event("stop" if stopped_by else "finish", progress.step, params_sha256=result["params_sha256"])
    if launch.is_main and not stopped_by:
        export_model(directory.path / "model", state.model, description, result)
    logger.close(result | ledger.figures())
    reduction.close()
    preemption.close()
    if launch.is_main:
        about = describe_result(state, None if stopped_by else newest, split, corpus, launch, device)
        directory.write_result(result | ledger.figures() | about)
        print_evaluation(f"{config.run.name}: {split}", newest, corpus.labels)
        print_result(directory.path, result | ledger.figures())
    return not stopped_by


def is_due(step: int, every: int, total_steps: int) -> bool:
    """Every so many steps, and at the end."""
    return step % every == 0 or step == total_steps


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
