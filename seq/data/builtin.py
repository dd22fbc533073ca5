"""The built-in sets as splits."""

from seq.data import names, speeches
from seq.data.examples import Examples, make_examples
from seq.errors import UserError


def load_names(subset: str | None, labelled: bool) -> dict[str, Examples]:
    if subset is not None:
        raise UserError(f"data.subset={subset}: names has no subsets; leave it out")
    splits = {}
    for split in ("train", "test"):
        rows = [(name, origin) for name, origin in names.rows() if names.split_of(name) == split]
        splits[split] = make_examples(
            split, [name for name, _ in rows], [origin for _, origin in rows] if labelled else None
        )
    return splits


def load_speeches(subset: str | None, labelled: bool) -> dict[str, Examples]:
    if labelled:
        raise UserError("data.source=speeches has no labels; use model.kind=language_model, or data.source=names")
    texts = speeches.chosen(subset)
    return {
        split: make_examples(split, [text for name, text in texts if speeches.split_of(name) == split], None)
        for split in ("train", "validation", "test")
    }
