"""Sets on which the recipes for data of one's own were chosen and judged, made from what the dependencies bring.

python -m benchmarks.own_sets FOLDER      writes NAME-train.csv and NAME-test.csv, or .txt, for each set
"""

import ast
import csv
import hashlib
import importlib
import importlib.util
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from pydoc_data.topics import topics

from faker.config import AVAILABLE_LOCALES

from seq.data.names import fold
from seq.data.speeches import documents

Rows = list[tuple[str, str]]
MOST_LABELS, FEWEST_ROWS = 20, 40


def first_names() -> Rows:
    """First names of persons, by language."""
    return _of_faker("person", ("first_names", "first_names_male", "first_names_female"))


def places() -> Rows:
    """Towns, streets and regions, by country."""
    return _of_faker(
        "address", ("cities", "city_names", "street_names", "states", "provinces", "districts", "municipalities")
    )


def words() -> Rows:
    """Common words, by language."""
    return _of_faker("lorem", ("word_list",))


def sentences() -> Rows:
    """Sentences of State of the Union addresses, by speaker."""
    said = [(re.split(r"(?<=[.?!])\s+", text), name.split("-")[1]) for name, text in documents().items()]
    return [(part.strip()[:200], president) for parts, president in said for part in parts if len(part) >= 40]


def code() -> Rows:
    """Lines of Python's library, by package."""
    lines = [(line.strip()[:120], path.parent.name) for path, text in _library() for line in text.splitlines()]
    return [(line, package) for line, package in lines if len(line) >= 15]


def docstrings() -> Rows:
    """Paragraphs of docstrings of Python's library, by package."""
    found: Rows = []
    for path, text in _library():
        with suppress(SyntaxError):
            nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, DOCUMENTED)]
            paragraphs = [part for node in nodes for part in re.split(r"\n\s*\n", ast.get_docstring(node) or "")]
            found += [(" ".join(part.split())[:200], path.parent.name) for part in paragraphs if len(part) >= 30]
    return found


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _of_faker(provider: str, attributes: tuple[str, ...]) -> Rows:
    found: set[tuple[str, str]] = set()
    for locale in AVAILABLE_LOCALES:
        if importlib.util.find_spec(f"faker.providers.{provider}.{locale}") is None:
            continue
        own = vars(importlib.import_module(f"faker.providers.{provider}.{locale}").Provider)
        for entries in (own.get(name) for name in attributes):
            if isinstance(entries, list | tuple | dict):
                found |= {(fold(entry), locale) for entry in entries if isinstance(entry, str)}
    return sorted((text, locale) for text, locale in found if 2 <= len(text) <= 60)


def _library() -> list[tuple[Path, str]]:
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = sorted(
        path for path in root.rglob("*.py") if "site-packages" not in path.parts and "test" not in path.parts
    )
    return [(path, path.read_text("utf-8", errors="replace")) for path in paths]


def century() -> Iterable[str]:
    """Addresses of 1860 to 1889."""
    return [text for name, text in documents().items() if "1860" <= name[:4] < "1890"]


def speaker() -> Iterable[str]:
    """Addresses of Franklin Roosevelt."""
    return [text for name, text in documents().items() if "-Roosevelt-" in name and name[:4] > "1930"]


def library() -> Iterable[str]:
    """Python's library: 8 MB."""
    return [text for _, text in _library()]


def manual() -> Iterable[str]:
    """The topics of Python's help."""
    return [topics[name] for name in sorted(topics)]


CLASSES: dict[str, Callable[[], Rows]] = {
    f.__name__: f for f in (first_names, places, words, sentences, code, docstrings)
}
TEXTS: dict[str, Callable[[], Iterable[str]]] = {f.__name__: f for f in (century, speaker, library, manual)}


def is_test(text: str) -> bool:
    """A third, by a hash of the text."""
    return hashlib.blake2b(text.lower().encode(), digest_size=8).digest()[0] % 3 == 0


def write_classes(name: str, folder: Path) -> None:
    rows = sorted(set(CLASSES[name]()))
    counts = Counter(label for _, label in rows).most_common(MOST_LABELS)
    known = {label for label, count in counts if count >= FEWEST_ROWS}
    for split in ("train", "test"):
        chosen = [row for row in rows if row[1] in known and is_test(row[0]) == (split == "test")]
        with (folder / f"{name}-{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *chosen])
        print(f"{name}-{split}: {len(chosen)} rows, {len(known)} labels")


def write_texts(name: str, folder: Path) -> None:
    documents = list(TEXTS[name]())
    for split in ("train", "test"):
        chosen = [text for place, text in enumerate(documents) if (place % 10 == 5) == (split == "test")]
        (folder / f"{name}-{split}.txt").write_text("\n\n".join(chosen))
        print(f"{name}-{split}: {sum(map(len, chosen))} characters")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in CLASSES:
        write_classes(name, folder)
    for name in TEXTS:
        write_texts(name, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
