"""The house: which room may import which, how long a file may be, and tests that mirror the tree."""

import ast
from pathlib import Path

from tests.helpers import ROOT

BOTTOM = {"launch", "seq.config", "seq.errors", "seq.files", "seq.terminal"}
TRAINING = BOTTOM | {"seq.data", "seq.models", "seq.tasks", "seq.training"}
EVERYTHING = TRAINING | {"seq.run", "seq.log", "seq.inference", "seq.diagnose", "seq.report", "seq.command_line"}
MAY_IMPORT = {
    "launch": set[str](),
    "seq.errors": {"seq.terminal"},
    "seq.files": {"seq.errors"},
    "seq.terminal": set[str](),
    "seq.config": {"launch", "seq.errors", "seq.files"},
    "seq.command_line": BOTTOM,
    "seq.data": BOTTOM,
    "seq.models": BOTTOM,
    "seq.tasks": BOTTOM | {"seq.data", "seq.models"},
    "seq.training": BOTTOM | {"seq.data", "seq.models", "seq.tasks"},
    "seq.run": TRAINING,
    "seq.log": TRAINING | {"seq.run"},
    "seq.inference": TRAINING | {"seq.run"},
    "seq.diagnose": TRAINING | {"seq.run"},
    "seq.report": {"seq.config", "seq.errors", "seq.files", "seq.tasks", "seq.run", "seq.command_line"},
    "seq": EVERYTHING,  # the programs
    "benchmarks": EVERYTHING,
    "train_ddp": EVERYTHING,
}
"""What each room may import, beside itself. A room that is not here may import nothing."""

PACKAGES = ("launch", "seq", "benchmarks")
SOURCES = [ROOT / "train_ddp.py", *(path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py")))]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    """`seq.data.plan` -> `seq.data`; a program such as `seq.predict` -> `seq`."""
    first_two = ".".join(module.split(".")[:2])
    return first_two if first_two in MAY_IMPORT else module.split(".")[0]


def imports_of(path: Path) -> set[str]:
    """The project's modules that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            # `from seq.data import names` imports a module, `from seq.config import Config` a name.
            found |= {node.module or ""} | {
                f"{node.module}.{name.name}" for name in node.names if _is_module(node, name)
            }
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {module for module in found if module.split(".")[0] in (*PACKAGES, "tests", "train_ddp")}


def _is_module(node: ast.ImportFrom, name: ast.alias) -> bool:
    return (ROOT / (node.module or "").replace(".", "/") / f"{name.name}.py").exists()


def test_imports_go_down() -> None:
    upward = []
    for path in SOURCES:
        room = room_of(module_of(path))
        # `seq` alone is the package's version.
        found = {name for name in imports_of(path) - {"seq"} if room_of(name) not in MAY_IMPORT[room] | {room}}
        upward += [f"{module_of(path)} imports {name}" for name in sorted(found)]
    assert not upward


def test_the_whole_run_is_in_sight() -> None:
    """`train_ddp.py` can be read in one go, and calls on few modules."""
    source = ROOT / "train_ddp.py"
    assert len(source.read_text().splitlines()) <= 175
    assert len(imports_of(source)) <= 23


def test_a_file_is_one_idea() -> None:
    """It can be read in one go."""
    lines = {module_of(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert not {name: count for name, count in lines.items() if count > 400}


def test_tests_mirror_the_tree() -> None:
    """`tests/seq/data/test_plan.py` tests `seq/data/plan.py`; a long one may have a second file, `test_plan_....py`."""
    tests = [path for room in ("launch", "seq") for path in sorted((ROOT / "tests" / room).rglob("test_*.py"))]
    strays = []
    for path in tests:
        folder, name = ROOT / path.parent.relative_to(ROOT / "tests"), path.stem.removeprefix("test_")
        if not any(name == module.stem or name.startswith(f"{module.stem}_") for module in folder.glob("*.py")):
            strays.append(path.name)
    assert not strays
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert not {name for name in names if names.count(name) > 1}, "two test files of one name"


UNSAFE = set(
    "pickle.load pickle.loads yaml.unsafe_load yaml.full_load eval exec os.system "
    "torch.jit.load joblib.load marshal.loads shelve.open".split()
)


def test_nothing_from_outside_is_executed() -> None:
    """No unpickling, no code from a data set's repository, no shell. Code of a config runs in one place, which asks first."""
    unsafe = []
    for path in SOURCES:
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            named = {word.arg: ast.unparse(word.value) for word in call.keywords}
            name = ast.unparse(call.func)
            safe = (
                (name not in UNSAFE or (name, module_of(path)) == ("exec", "seq.config.own_code"))
                and (name != "yaml.load" or ast.unparse(call.args[1]) == "_Loader")  # a SafeLoader
                and (name != "torch.load" or named.get("weights_only") == "True")
                and named.get("allow_pickle") in (None, "False")
                and not {"trust_remote_code", "shell"} & named.keys()
            )
            unsafe += [] if safe else [f"{module_of(path)}:{call.lineno} {name}"]
    assert not unsafe


def test_only_launch_branches_on_the_world_size() -> None:
    branching = ("world_size >", "world_size ==")
    others = [path for path in SOURCES if not module_of(path).startswith("launch")]
    assert not [module_of(path) for path in others if any(words in path.read_text() for words in branching)]
