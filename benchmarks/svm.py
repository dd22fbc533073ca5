"""A linear SVM on character 1- to 5-grams, for comparison (pip install -e ".[bench]"): python -m benchmarks.svm FOLDER NAME ..."""

import csv
import sys
import time
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC


def main(folder: Path, names: list[str]) -> None:
    for name in names:
        (texts, labels), (test_texts, test_labels) = (
            _read(folder / f"{name}-{split}.csv") for split in ("train", "test")
        )
        begin = time.perf_counter()
        model = make_pipeline(
            TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 5), sublinear_tf=True, min_df=2), LinearSVC(C=0.5)
        )
        guesses = model.fit(texts, labels).predict(test_texts)
        accuracy, f1 = accuracy_score(test_labels, guesses), f1_score(test_labels, guesses, average="macro")
        print(f"{name}: accuracy {accuracy:.4f}, macro F1 {f1:.4f}, {time.perf_counter() - begin:.0f} s", flush=True)


def _read(path: Path) -> tuple[list[str], list[str]]:
    with path.open(newline="") as file:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    return [text for text, _ in rows], [label for _, label in rows]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
