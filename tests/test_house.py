"""The house is as ARCHITECTURE.md says, and clean of what must not stand in it."""

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "deepres"


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _files() -> set[str]:
    found = (path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".jinja"))
    rooms = {path.relative_to(PACKAGE).as_posix() for path in found}
    return {name for name in rooms if not name.endswith("/__init__.py")}


def _listed() -> list[str]:
    tree = re.search(r"```\nsrc/deepres/\n(.*?)```", (ROOT / "ARCHITECTURE.md").read_text(), re.DOTALL)
    assert tree is not None
    listed, rooms = [], list[str]()
    for line in tree[1].splitlines():
        name, depth = re.sub(r"^[│├└─ ]+", "", line).split()[0], line.index("── ") // 4
        rooms = rooms[:depth]
        if name.endswith("/"):
            rooms.append(name)
        else:
            listed.append("".join(rooms) + name)
    return listed


def test_the_tree_has_one_line_for_each_file() -> None:
    listed = _listed()
    assert len(listed) == len(set(listed))
    assert set(listed) == _files()


def test_a_rooms_init_holds_its_question_and_nothing_else() -> None:
    for path in PACKAGE.glob("*/**/__init__.py"):
        (only,) = _parsed(path).body
        assert isinstance(only, ast.Expr), path
        assert "?" in path.read_text(), path


def test_every_file_says_in_its_first_line_what_belongs_in_it() -> None:
    for path in PACKAGE.rglob("*.py"):
        first = (ast.get_docstring(_parsed(path)) or "").splitlines()
        assert first, path
        assert len(first[0]) > 20, path


def test_no_file_is_long() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 350} == {}


def test_no_function_has_more_than_eight_arguments_but_a_verb_its_flags() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(_parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                named = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                verb = path.parent.name == "cli" and node.name == "command"
                if len([name for name in named if name not in ("self", "cls", "ctx")]) > 8 and not verb:
                    found.add(f"{path.relative_to(PACKAGE).as_posix()}: {node.name}")
    assert found == set()


def _types(path: Path) -> Iterator[str]:
    """The names of classes and of types (`Floats = NDArray[…]`, `Split = Literal[…]`) of a file; of no type variables."""
    for node in _parsed(path).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript | ast.BinOp | ast.Tuple):
            yield from (each.id for each in node.targets if isinstance(each, ast.Name))


def test_the_name_of_a_type_means_one_thing() -> None:
    """But for modules, which are called like the nodes of a description that they are built of."""
    found = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in _types(path):
            if name[0].isupper() and not name.isupper():
                found[name].append(path.relative_to(PACKAGE).as_posix())
    node_and_module = [{f"arch/{name}.py", "nn/layers.py"} for name in ("atoms", "attention_atoms", "algebra")]
    twice = {name: paths for name, paths in found.items() if len(paths) > 1 and set(paths) not in node_and_module}
    assert len(found) > 400
    assert twice == {}


def test_no_pin_names_a_registry_and_every_requirement_is_pinned() -> None:
    pins = (ROOT / "constraints.txt").read_text()
    assert "://" not in pins
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in pins.splitlines() if "==" in line}
    project = (ROOT / "pyproject.toml").read_text()
    wanted = {name.lower() for name in re.findall(r'"([A-Za-z0-9-]+)>=', project)} - {"hatchling"}
    assert wanted <= pinned


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 6000


def test_the_readme_counts_the_networks_that_there_are() -> None:
    from deepres.arch.catalogue.lookup import CATALOGUE

    found = re.search(r"\| networks \| ([\d,]+),", (ROOT / "README.md").read_text())
    assert found
    assert int(found[1].replace(",", "")) == len(CATALOGUE)


def test_the_file_that_ci_runs_calls_the_readmes_test_command() -> None:
    assert "make test" in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("make test")


def test_nothing_large_is_in_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    sizes = {name: (ROOT / name).stat().st_size for name in listed if name and (ROOT / name).is_file()}
    assert {name: size for name, size in sizes.items() if size > 1 << 20} == {}
