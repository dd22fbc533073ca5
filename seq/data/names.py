"""The built-in set `names`: surnames of 18 origins, from the person providers of the package faker.

Names are folded to a-z, A-Z, space, apostrophe and hyphen. A hash of the lower-cased name decides the split, so that
a name (some have several origins) is never in both splits.
"""

import hashlib
import importlib
import unicodedata

from seq.data.examples import Examples, make_examples
from seq.errors import UserError

PROVIDERS = {
    "Arabic": ["fr_DZ"],
    "Chinese": ["zh_CN", "zh_TW"],
    "Croatian": ["hr_HR"],
    "Czech": ["cs_CZ"],
    "Dutch": ["nl_NL"],
    "English": ["en_GB", "en"],
    "Finnish": ["fi_FI"],
    "French": ["fr_FR"],
    "German": ["de_DE", "de_AT"],
    "Greek": ["el_GR"],
    "Indian": ["en_IN"],
    "Irish": ["en_IE"],
    "Italian": ["it_IT"],
    "Polish": ["pl_PL"],
    "Portuguese": ["pt_PT", "pt_BR"],
    "Russian": ["ru_RU"],
    "Spanish": ["es_ES"],
    "Swedish": ["sv_SE"],
}
"""faker locales of each origin."""

_ATTRIBUTES = {"Chinese": ["last_romanized_names"], "Polish": ["unisex_last_names", "male_last_names"]}

_RUSSIAN = (
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "a b v g d e zh z i y k l m n o p r s t u f kh ts ch sh shch _ y _ e yu ya",
)
_GREEK = ("αβγδεζηθικλμνξοπρσςτυφχψω", "a v g d e z i th i k l m n x o p r s s t y f ch ps o")
_LATIN = {"ł": "l", "ø": "o", "đ": "d", "ß": "ss", "æ": "ae", "þ": "th", "ı": "i", "œ": "oe", "ð": "d"}
_LETTERS = _LATIN | {
    letter: latin.strip("_")
    for letters, latins in (_RUSSIAN, _GREEK)
    for letter, latin in zip(letters, latins.split(), strict=True)
}
_APOSTROPHES = str.maketrans("’‘`´", "''''")
_KEPT = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ '-")


PACKAGE = "faker"


def load(subset: str | None, labelled: bool) -> dict[str, Examples]:
    """The splits `train` and `test`."""
    if subset is not None:
        raise UserError(f"data.subset={subset}: names has no subsets; leave it out")
    splits = {}
    for split in ("train", "test"):
        chosen = [(name, origin) for name, origin in rows() if split_of(name) == split]
        texts, origins = [name for name, _ in chosen], [origin for _, origin in chosen]
        splits[split] = make_examples(split, texts, origins if labelled else None)
    return splits


def fold(name: str) -> str:
    """`Łukasiewicz-Müller` -> `Lukasiewicz-Muller`, `Иванов` -> `Ivanov`; a letter that cannot be folded is left out."""
    plain = unicodedata.normalize("NFKD", name.translate(_APOSTROPHES))
    letters = "".join(_fold_letter(letter) for letter in plain if not unicodedata.combining(letter))
    kept = " ".join("".join(letter for letter in letters if letter in _KEPT).split())
    return kept.capitalize() if kept.isupper() else kept


def _fold_letter(letter: str) -> str:
    latin = _LETTERS.get(letter.lower(), letter)
    return latin if letter.islower() or latin == letter else latin.capitalize()


def rows() -> list[tuple[str, str]]:
    """(name, origin), sorted, each pair once. Entries of one letter, or of over 20, are no surnames."""
    table = {(fold(name), origin) for origin, locales in PROVIDERS.items() for name in _names_of(origin, locales)}
    return sorted((name, origin) for name, origin in table if 2 <= len(name) <= 20)


def _names_of(origin: str, locales: list[str]) -> list[str]:
    providers = [importlib.import_module(f"faker.providers.person.{locale}").Provider for locale in locales]
    attributes = _ATTRIBUTES.get(origin, ["last_names"])
    return [name for provider in providers for attribute in attributes for name in getattr(provider, attribute)]


def split_of(name: str) -> str:
    """One third of the names is `test`."""
    digest = hashlib.blake2b(name.lower().encode(), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "big") % 3 == 0 else "train"
