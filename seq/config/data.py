"""The data: where the text comes from, and how it becomes sequences."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from seq.config.section import Positive, Section


class FilesConfig(Section):
    train: str | None = None
    """File or glob pattern to train on."""
    validation: str | None = None
    """File or glob pattern to validate on; without it, validation data are cut from the training data."""
    test: str | None = None
    """File or glob pattern for the final figures."""


class DataConfig(Section):
    source: str = "names"
    """Built in: `names`, `speeches`, `punctuation`, `pronunciation`. Otherwise `csv`, `text`, `json` or `parquet`, for `data.files`; a
    directory, all of whose files are read (those whose path has a word such as `test` or `dev` are that split); or a hub id."""
    subset: str | None = None
    """Configuration name of a hub data set. For `speeches`: `since-YEAR`, or `since-YEAR-recent`, in which addresses from 1981 on come
    two to four times per epoch."""
    revision: str | None = None
    """Git revision of a hub data set. Pin it, because prepared data are cached under this name."""
    streaming: bool = False
    """Prepare a hub data set while it is downloaded, without a copy of the original on this disk."""
    files: FilesConfig = FilesConfig()
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Column separator of csv files (`\\t`: a tab). Null: a tab in files that end with `.tsv`, else a comma."""
    quoting: Literal["standard", "none"] = "standard"
    """`none`: quotation marks in csv files are characters like others, and a row is always one line."""
    columns: tuple[str, ...] | None = None
    """Names of the columns of csv files that have no header, in their order."""
    token_column: Positive | None = None
    """Column of the tokens in CoNLL files, from 1. Null: the first; of files with ten columns (CoNLL-U), the second."""
    tag_column: Positive | None = None
    """Column of the tags in CoNLL files, from 1. Null: the last; of files with ten columns (CoNLL-U), the fourth, the part of speech."""
    encoding: str = "utf-8"
    """Encoding of csv, text and json files, by Python's name: `latin-1`, `cp1252`, `utf-16`, ..."""
    text: str | tuple[str, ...] = "text"
    """Column that holds the text; several columns (`[title, body]`) are joined, with a token between them. For a tagger,
    a list of tokens, or text with a space between them."""
    label: str = "label"
    """Column that holds the label, the labels or the number to predict (classifiers), a tag for each token (taggers), or
    the text to be written (encoder-decoders). `file`: the name of the file, for files of one label each."""
    label_separator: Annotated[str, Field(min_length=1)] = ";"
    """Separator of a row's labels (`model.target=labels`), where columns hold only text; an empty field means no labels."""
    unit: Literal["line", "paragraph", "document", "chunk"] = "paragraph"
    """Where a language model's training text is cut into sequences; `chunk`: every `max_length` tokens;
    `document`: not at all."""
    max_length: Positive = 256
    """Longest training sequence, and longest target, in tokens of text (without markers). It does not apply to `unit=document`."""
    evaluation_max_length: Positive = 65536
    """With `unit=document`, a language model's validation and test splits are whole documents. A longer document is cut into pieces that
    are read side by side. With other units they are cut as the training text is."""
    too_long: Literal["auto", "error", "drop", "truncate", "split"] = "auto"
    """What to do with a sequence longer than `max_length`. `split` continues it in a further sequence (language models
    and taggers only); `auto` is `split` for these and `error` for classifiers."""
    empty: Literal["error", "drop"] = "error"
    """What to do with a row without text. Dropped rows are counted and printed."""
    tokenizer: Literal["characters", "bytes", "words", "subwords", "tokens"] = "characters"
    """`characters`: the characters of the training text and one unknown id; `bytes`: 256 ids, nothing is unknown; `words`: the
    most frequent words; `subwords`: the most frequent parts of words (BPE). With these two, text outside the vocabulary is spelled in
    bytes. `tokens`
    (taggers): the most frequent tokens as the data have them, and one unknown id; rare ones are read as `min_count` says."""
    vocab_size: Positive = 8000
    """Maximum number of words or subwords, including the 256 bytes; or of tokens."""
    min_count: Positive = 1
    """Characters with fewer occurrences in the training text become the unknown id, as long as these are at most 1 % of the text. With 2 or
    more, `tokens` with fewer, and new ones, are read by their last letters, a capital or a digit. Other kinds are spelled in bytes."""
    target_tokenizer: Literal["characters", "tokens"] = "characters"
    """Tokens of an encoder-decoder's targets: `characters`, or `tokens` with a space between them."""
    lowercase: bool | None = False
    """Convert the text to lower case first. Null: only if more than 90 % of the training rows are written as names are, with a
    capital at the beginning of each word and no other, since such capitals rarely matter; with `train.init_from`, as that model reads."""
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the training data that becomes the validation split if none is given; 0: train on everything. Rows are chosen by a hash
    of their text, with the same share for each label; a text of one or a few documents gives `validation_pieces`."""
    validation_rows: Positive = 10_000
    """Approximate limit on the rows of a classifier's validation split; with 10,000, accuracy has a standard error of half a point."""
    validation_tokens: Positive = 50_000
    """Approximate limit on the tokens of a language model's validation split."""
    validation_pieces: Positive = 10
    """Number of pieces of a text that are its validation split. Each has at least 1,000 tokens, and begins and ends with a unit."""
    train_on_validation: bool = False
    """Train on the validation split too, without any validation, as `train_ddp.py --refit` does."""
    cache_dir: str | None = None
    """Folder for prepared data; the default is `$XDG_CACHE_HOME/lockstep` or `~/.cache/lockstep`."""

    @property
    def text_columns(self) -> tuple[str, ...]:
        return (self.text,) if isinstance(self.text, str) else self.text

    @property
    def reads_whole_documents(self) -> bool:
        """Whether a language model carries its state through each document, in training and in evaluation."""
        return self.unit == "document" and self.too_long != "split"

    @field_validator("delimiter", mode="before")
    @classmethod
    def _tab(cls, delimiter: object) -> object:
        if isinstance(delimiter, str) and not delimiter.isascii():
            raise ValueError("must be an ASCII character")
        return "\t" if delimiter == "\\t" else delimiter

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        try:
            "".encode(encoding)
        except (LookupError, ValueError):
            raise ValueError(f"Python knows no encoding {encoding!r}; such as utf-8, latin-1, cp1252, utf-16") from None
        return encoding
