"""The tasks: what a model predicts. Each is one object in one file, which says how its targets are read and coded, its loss, its
metrics, and the answers of a trained model."""

from seq.config import Config
from seq.errors import UserError
from seq.tasks.classification import Classification, LoadedClassifier
from seq.tasks.language_modeling import ConditionalLanguageModeling, LanguageModeling, LoadedLanguageModel
from seq.tasks.metrics import TRAINING, Evaluation, Metric
from seq.tasks.multilabel import LoadedMultilabel, Multilabel
from seq.tasks.regression import LoadedRegressor, Regression
from seq.tasks.seq2seq import LoadedSeq2Seq, SequenceToSequence
from seq.tasks.tagging import LoadedTagger, Tagging
from seq.tasks.task import PredictiveTask, Task, TrainedModel

__all__ = [
    "METRICS",
    "TASKS",
    "Evaluation",
    "Loaded",
    "Metric",
    "PredictiveTask",
    "Task",
    "TrainedModel",
    "show",
    "task_of",
]

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Classification(),
        Multilabel(),
        Regression(),
        Tagging(),
        SequenceToSequence(),
        LanguageModeling(),
        ConditionalLanguageModeling(),
    )
}
Loaded = LoadedClassifier | LoadedMultilabel | LoadedRegressor | LoadedTagger | LoadedSeq2Seq | LoadedLanguageModel
"""What `seq.load` gives."""
METRICS = {metric.name: metric for task in TASKS.values() for metric in task.metrics} | {
    each.name: each for each in TRAINING
}
"""All metrics by name."""


def task_of(config: Config) -> Task:
    """The task that `model` chooses. UserError if there is none, or if the config asks for what the task does not have."""
    settings = {f"model.{key}={value}" for key, value in config.model}
    chosen = [task for task in TASKS.values() if settings.issuperset(task.chosen_by)]
    if not chosen:
        own = f"model.kind={config.model.kind}"
        choices = sorted({task.chosen_by[1] for task in TASKS.values() if own in task.chosen_by})
        raise UserError(f"{own}: nothing to predict; set {' or '.join(choices)}")
    if faults := list(chosen[0].faults(config)):
        raise UserError(
            f"config: {len(faults)} fault{'s' * (len(faults) > 1)}\n" + "\n".join(f"  {one}" for one in faults)
        )
    return chosen[0]


def show(name: str, value: object) -> str:
    """A metric's value as people read it."""
    if not isinstance(value, float):
        return str(value)
    spec = METRICS[name].spec if name in METRICS else ".4g"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if spec == ".4f" and abs(value) < 0.001 else format(value, spec)
