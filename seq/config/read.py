"""From YAML and `section.key=value` to a Config, and back. All faults are reported at once, each with its remedy."""

import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from launch.context import describe_launch
from seq.config import Config
from seq.config.own_code import with_code
from seq.config.section import describe_keys
from seq.errors import UserError, warn
from seq.files import read_text

_INSTALLED = Path(__file__).parents[1] / "configs"
SHIPPED = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "configs"
"""The configs that come with lockstep: inside the installed package, or beside it in a clone."""


RENAMED = {
    "batch.window": "batch.bptt",
    "checkpoint.best": "checkpoint.monitor",
    "optimizer.table_lr": "optimizer.ngram_lr_scale",
    "run.recipe": "run.auto_hyperparameters",
    "train.max_norm": "train.clip_grad_norm",
    "train.warm_up_largest": "train.memory_check",
}
"""Keys of earlier versions, and their names now."""
NEW_VALUES: dict[str, dict[str, str | bool]] = {
    "batch.order": {"stream": "stateful"},
    "data.unit": {"window": "chunk"},
    "model.kind": {"transducer": "seq2seq"},
    "run.auto_hyperparameters": {"none": False, "auto": True},
}
"""Values of earlier versions, by key, and what they are now."""
LARGEST = 1 << 20
"""Bytes of a config file."""


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without its traps: `1e-3` is a float, a date stays text, a key given twice is refused, and so is an alias: ten of
    them inside each other stand for a million values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise UserError(f"line {line}: is a YAML alias (`*name`); write out what it stands for")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                raise UserError(f"line {key_node.start_mark.line + 1}: key {key!r} is given twice; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_FLOAT = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


class _Dumper(yaml.SafeDumper):
    """Quotes text that the loader would read as another type: a run may be called `1e5`. Writes code as it is, line by line."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read `path` and the code that it names, apply `overrides` over it, validate. UserError lists every fault."""
    config = _parse(read_tree(path), overrides, where=str(path))
    return with_code(config, path.parent, [override.partition("=")[0] for override in overrides])


def override_config(config: Config, overrides: Sequence[str], where: str) -> Config:
    """`config` with `overrides` applied."""
    return _parse(config.model_dump(mode="json"), overrides, where)


def _parse(tree: dict[str, Any], overrides: Sequence[str], where: str) -> Config:
    for override in overrides:
        _apply(tree, override)
    return parse_config(tree, where)


def parse_config(tree: dict[str, Any], where: str) -> Config:
    """Validate through JSON: there, strict mode takes lists for tuples, yet refuses `true` or "1" for 1."""
    tree = _with_new_names(tree, where)
    if isinstance(tree.get("model", {}), dict):
        tree = tree | {"model": {"kind": "classifier"} | tree.get("model", {})}
    try:
        text = json.dumps(tree, default=str)
    except (ValueError, TypeError, RecursionError):
        raise UserError(f"{where}: a key is not text") from None
    try:
        return Config.model_validate_json(text)
    except ValidationError as error:
        faults = list(dict.fromkeys(map(_describe, error.errors())))
        raise UserError(f"{where}: {len(faults)} fault{'s' * (len(faults) > 1)}\n" + "\n".join(faults)) from None


def _with_new_names(tree: dict[str, Any], where: str) -> dict[str, Any]:
    """The tree with the names of this version for those of earlier ones; a warning says which."""
    new = {name: dict(section) if isinstance(section, dict) else section for name, section in tree.items()}
    said = []
    for old, now in RENAMED.items():
        section, _, key = old.partition(".")
        if isinstance(own := new.get(section), dict) and key in own:
            if (leaf := now.partition(".")[2]) in own:
                raise UserError(f"{where}: {old} is now {now}, which is given too; keep one")
            own[leaf] = own.pop(key)
            said.append(f"{old} is now {now}")
    for key, values in NEW_VALUES.items():
        section, _, leaf = key.partition(".")
        own = new.get(section)
        if isinstance(own, dict) and isinstance(value := own.get(leaf), str) and value in values:
            own[leaf] = values[value]
            said.append(f"{key}={value} is now {json.dumps(values[value])}")
    _say_renamed(where, said)
    return new


def _say_renamed(where: str, changes: Sequence[str]) -> None:
    if changes and describe_launch().is_main:
        warn(f"{where}: {'; '.join(changes)}")


def read_tree(path: Path) -> dict[str, Any]:
    """The YAML file as nested dicts."""
    try:
        tree = yaml.load(read_text(path, LARGEST), _Loader)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such config file{_neighbours(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        tabs = " (indent with spaces, not with tabs)" if "'\\t'" in str(error) else ""
        reason = " ".join(str(error).split()).replace('in "<unicode string>", ', "")
        raise UserError(f"{path}: not valid YAML{tabs}: {reason}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: the file must hold sections such as `train:`, not a {type(tree).__name__}")
    return tree


def dump_config(config: Config) -> str:
    """YAML that loads to an equal config. It is ASCII, because YAML reads some other characters as line ends."""
    return dump_tree(config.model_dump(mode="json"))


def dump_tree(tree: dict[str, Any], *, allow_unicode: bool = False) -> str:
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode)


def _neighbours(path: Path) -> str:
    near = sorted(path.parent.glob("*.yaml")) or [
        Path("configs") / file.name for file in sorted(SHIPPED.glob("*.yaml"))
    ]
    alike = difflib.get_close_matches(path.stem, [file.stem for file in near], n=1)
    found = [file for file in near if file.stem in alike]
    return f"; did you mean {found[0]}?" if found else f"; there are {', '.join(map(str, near))}"


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"{override!r}: an override is written section.key=value, such as optimizer.lr=3e-3")
    try:
        value = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UserError(f"{override!r}: the value is not valid YAML; put it into quotes") from None
    if key in RENAMED:
        _say_renamed(override, [f"{key} is now {RENAMED[key]}"])
    *parents, leaf = RENAMED.get(key, key).split(".")
    node = tree
    for name in parents:
        if node.get(name) is None:
            node[name] = {}
        node = node[name]
        if not isinstance(node, dict):
            raise UserError(f"{override!r}: {name} is a value, not a section; it has no keys")
    node[leaf] = value


WORDS = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "text",
    "a valid boolean": "true or false",
    "a valid array": "a list, such as [a, b]",
    "an object": "a section with keys",
}
"""Pydantic's names for the types of JSON, and ours."""


def _describe(fault: Any) -> str:
    """One line for a fault: its path, what is wrong, the value given, the nearest known key."""
    place = [str(part) for part in fault["loc"]]
    # In the section `model`, pydantic puts the kind of model between the section and the key.
    path = ".".join(place[:1] + place[2:] if place[:1] == ["model"] else place)
    given = fault["input"]
    if fault["type"] == "union_tag_invalid":
        return f"  model.kind: there is no kind {given['kind']!r}; there are {fault['ctx']['expected_tags']}"
    if alternative := re.search(r"\.(str|tuple\[.*)$", path):  # a key that takes one text or several
        return f"  {path[: alternative.start()]}: must be text, or a list of texts (got {json.dumps(given)[:80]})"
    if path == "train.refit":
        return "  train.refit: is now an option of a second start, after the run has finished: train_ddp.py ... --refit"
    if fault["type"] == "extra_forbidden":
        return f"  {path}: unknown key{_nearest(path)}"
    if fault["type"] == "string_pattern_mismatch":
        meaning = next(meaning for key, _, meaning in describe_keys(Config) if key == path)
        return f"  {path}: {meaning.rstrip('.')} (got {json.dumps(given)[:80]})"
    message = str(fault["msg"]).removeprefix("Value error, ").replace("Input should", "must")
    for theirs, ours in WORDS.items():
        message = message.replace(theirs, ours)
    if fault["type"] == "value_error":
        return f"  {path + ': ' if path else ''}{message}"
    return f"  {path}: {message} (got {json.dumps(given, default=str)[:80]})"


def _nearest(path: str) -> str:
    known = [key for key, _, _ in describe_keys(Config)]
    section, _, leaf = path.rpartition(".")
    if not section and path not in Config.model_fields:
        inside = [key for key in known if key.rpartition(".")[2] == path]
        near = inside or difflib.get_close_matches(path, Config.model_fields, n=1)
        return f"; did you mean {near[0]}?" if near else f"; sections are {', '.join(Config.model_fields)}"
    if path in known:
        return "; it belongs to another model.kind"
    siblings = [key for key in known if key.rpartition(".")[0] == section]
    elsewhere = [key for key in known if key.rpartition(".")[2] == leaf]
    elsewhere += [now for old, now in RENAMED.items() if old.rpartition(".")[2] == leaf]
    near = elsewhere or difflib.get_close_matches(path, siblings, n=1) or difflib.get_close_matches(path, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
