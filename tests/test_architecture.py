"""The floors of the house: who may import whom, and how much fits into a file."""

import ast
from pathlib import Path

import pytest

from tests.helpers import ROOT

SOURCES = [ROOT / "train_ddp.py", *sorted((ROOT / "launch").rglob("*.py")), *sorted((ROOT / "seq").rglob("*.py"))]

MAY_NOT_IMPORT = {
    "launch": ("seq", "train_ddp"),
    "seq.data": ("seq.models", "seq.training", "train_ddp"),
    "seq.models": ("seq.data", "seq.training", "train_ddp"),
    "seq.training": ("seq.command_line", "seq.predict", "seq.generate", "seq.evaluate", "train_ddp"),
    "seq": ("train_ddp",),
}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return modules | {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_no_upward_import(path: Path) -> None:
    module = module_of(path)
    for floor, forbidden in MAY_NOT_IMPORT.items():
        if module.startswith(floor):
            upward = {name for name in imports_of(path) if name.startswith(forbidden)}
            assert not upward, f"{module} imports {upward}"


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_a_file_can_be_read_in_one_go(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 200


UNSAFE = {
    *("pickle.load", "pickle.loads", "yaml.unsafe_load", "yaml.full_load", "eval", "exec", "os.system"),
    *("torch.jit.load", "joblib.load", "marshal.loads", "shelve.open"),
}


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_nothing_from_outside_is_executed(path: Path) -> None:
    """No unpickling, no code from a data set's repository, no shell."""
    for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
        named = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert ast.unparse(call.func) not in UNSAFE
        assert ast.unparse(call.func) != "yaml.load" or ast.unparse(call.args[1]) == "_Loader"  # a SafeLoader
        assert ast.unparse(call.func) != "torch.load" or named.get("weights_only") == "True"
        assert named.get("allow_pickle") in (None, "False")
        assert not {"trust_remote_code", "shell"} & named.keys()


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_only_launch_branches_on_the_world_size(path: Path) -> None:
    if not module_of(path).startswith("launch"):
        assert "world_size >" not in path.read_text()
        assert "world_size ==" not in path.read_text()
