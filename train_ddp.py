"""Train a GRU sequence model with DistributedDataParallel: the whole run, from top to bottom.

torchrun --nproc_per_node=4 train_ddp.py [CONFIG] [section.key=value ...]     several processes
srun python train_ddp.py ...                                                  the same, started by SLURM
python train_ddp.py ...                                                       one process, for debugging
"""

import sys

from launch.parent import end_with_parent
from seq.command_line import answer_help, check_launch, config_from, exit_code, training_parser

end_with_parent()  # before the imports below, which take seconds
PARSER = training_parser()
answer_help(__file__, PARSER)

from launch.collectives import check_agreement, check_ranks_agree
from launch.context import describe_launch
from launch.preemption import Preemption
from seq.config import Config
from seq.inference.formats import export_at_end
from seq.log.logger import check_packages, open_logger, say_if_finished
from seq.report import report_at_end
from seq.run.bad_steps import BadSteps
from seq.run.checkpoint import Checkpoint, describe_run, fingerprint
from seq.run.checkpoints import CheckpointSaver
from seq.run.directory import RunDirectory
from seq.run.profile import profiled
from seq.run.result import describe_start, make_result, refit_config
from seq.run.run import Run
from seq.run.witness import Witness
from seq.tasks.task import samples_of
from seq.training.evaluation import evaluate
from seq.training.hyperparameters import with_earlier_hyperparameters
from seq.training.pass_size import choose_pass_size


def main(arguments: list[str]) -> None:
    options = PARSER.parse_intermixed_args(arguments)
    config = config_from(options.words)
    if options.refit:
        config = refit_config(RunDirectory.of(config))
    start(config, RunDirectory.of(config, fresh=options.fresh))


def start(config: Config, directory: RunDirectory) -> None:
    """All that can be wrong with config or data is checked here, before the processes join."""
    process = describe_launch()
    check_launch(process, config)
    check_packages(config)
    config = with_earlier_hyperparameters(config, directory.config_file, fresh=directory.fresh)
    directory.check(config)
    if say_if_finished(directory, process.is_main):
        return report_at_end(directory, wanted=process.is_main and config.logging.report)
    run = Run.open(config, directory)
    with directory.locked_by(run.is_main):
        resumed_from = directory.checkpoints.newest(run.config, run.corpus)
        with run.joined():
            finished = train(run, resumed_from)
        report_at_end(directory, wanted=finished and run.is_main and config.logging.report)


def train(run: Run, resumed_from: Checkpoint | None) -> bool:
    """True if the run is finished, False if a signal stopped it before."""
    config, task, corpus, directory, ledger = run.config, run.task, run.corpus, run.directory, run.ledger

    # ---- data and model -------------------------------------------------------------------------------------------
    batches, trainer = run.batches(), run.trainer()
    last_step = batches.total_steps(config.train)
    choose_pass_size(trainer, batches)

    # ---- start, or continue after the newest checkpoint -----------------------------------------------------------
    if resumed_from is not None:
        trainer.state.load_state_dict(resumed_from.state)
    progress, selection = trainer.state.progress, trainer.state.selection
    ledger.step = start = progress.step
    description = fingerprint(config, corpus, start, trainer.model)
    check_agreement("config, data, weights and step to start from", description, run.device)
    if run.is_main:
        directory.begin(config, resumed_from.path if resumed_from else None)
        run.initial.keep_in(directory)
        ledger.add_earlier(resumed_from.state["ledger"] if resumed_from else {}, directory.wall_seconds())
    logger = open_logger(run, start, last_step)
    event = "resume" if resumed_from or ledger.spent("lost") else "start"
    logger.event(event, start, **describe_start(run, trainer.model, last_step))
    saver = CheckpointSaver(directory.checkpoints, config.checkpoint, logger.event, run.is_main)
    bad_steps, witness = BadSteps(run, trainer.state, batches), Witness(run, trainer, batches, logger.event)
    preemption, evaluation, stopped_by = Preemption(), None, None

    # ---- train ----------------------------------------------------------------------------------------------------
    ledger.started(progress.tokens_seen)
    steps = ledger.each("data", batches.steps(start, start if selection.out_of_patience else last_step))
    for passes in profiled(run, start, steps):
        with ledger("compute"):
            lr = trainer.set_lr(progress.step, last_step)
            losses = witness.accumulate_gradients(passes)
            preemption.ask()
            done = trainer.update(losses)
        ledger.move("compute", "sync", trainer.take_sync_seconds())
        progress.advance(passes[0].sizes)
        selection.after_step(progress.step, last_step)
        bad_steps.add(progress.step, done)
        stopped_by = preemption.answer() if progress.step < last_step else None
        logger.digests(progress.step, done.digests)

        if is_due(progress.step, config.logging.every_steps, last_step):
            with ledger("compute"):
                bad_steps.check()
                figures = {"loss": trainer.state.mean_loss.take()} | done.figures() | {"lr": lr}
            speed = {"tokens_per_second": ledger.tokens_per_second(progress.tokens_seen)}
            logger.event("train", progress.step, **figures, **progress.figures(), **speed)

        if is_due(progress.step, config.sync.check_every, last_step):
            with ledger("compute"):
                check_ranks_agree(trainer.model.named_parameters(), progress.step, run.device)

        if is_due(progress.step, config.evaluation.every_steps, last_step):
            if "validation" in corpus.splits:
                with ledger("evaluation"):
                    evaluation = evaluate(task, selection.model, corpus.splits["validation"], config, run.device)
                    logger.evaluation(progress.step, "validation", evaluation)
                    if selection.judge(progress.step, evaluation.figures):
                        saver.save_best(progress.step, trainer.state.weights() | describe_run(config, corpus))
            if run.is_main:
                with ledger("sampling"):
                    logger.samples(progress.step, samples_of(task, selection.model, config, corpus, progress.step))

        ends = stopped_by or selection.out_of_patience
        if is_due(progress.step, config.checkpoint.every_steps, last_step) or ends:
            with ledger("checkpoint"):
                bad_steps.check()
                state = trainer.state.state_dict() | describe_run(config, corpus)
                saver.save(progress.step, state | {"ledger": ledger.summary()})
        saver.poll()
        if ends:
            break

    # ---- final figures --------------------------------------------------------------------------------------------
    with ledger("checkpoint"):
        saver.close()
        if not stopped_by:
            saver.use_best(selection)
    split = "test" if "test" in corpus.splits and not stopped_by else "validation"
    if not stopped_by and split in corpus.splits and (split == "test" or evaluation is None or selection.best_step):
        with ledger("evaluation"):
            evaluation = evaluate(task, selection.model, corpus.splits[split], config, run.device)
        if split == "test" or not selection.best_step:
            logger.evaluation(progress.step, split, evaluation)
    epoch = progress.step / batches.steps_per_epoch
    result = make_result(run, trainer.state, evaluation, split, epoch, stopped_by)
    logger.event("stop" if stopped_by else "finish", progress.step, params_sha256=result["params_sha256"])
    if run.is_main:
        if not stopped_by:
            export_at_end(run, selection.model, result)
        directory.write_result(result)
    logger.close(result)
    trainer.close()
    preemption.close()
    logger.show_result(result)
    return not stopped_by


def is_due(step: int, every: int, total_steps: int) -> bool:
    """True every `every` steps, and at the last step."""
    return step % every == 0 or step == total_steps


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
