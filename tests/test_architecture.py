"""The house is held to its plan: layers, no cycle, no framework at import, every room says its one job."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import gdbackends

PACKAGE = Path(gdbackends.__file__).parent
FLOORS = [  # a room imports only from floors below its own, or from its own folder
    {"errors", "atomic_files", "launchers", "schedules", "objectives"},
    {
        "blocks",
        "ranks",
        "arrays",
        "preparation",
        "datasets",
        "scaling",
        "streaming",
        "rounding",
        "reading",
        "python_files",
    },
    {"backends", "problems"},
    {"descent"},
    {"derivation", "measurement"},
    {"gradcheck"},
    {"comparison"},
    {"benchmarking", "doctor"},
    {"pictures"},
    {"cli", "pytest_plugin"},
]
GROUND = [
    "errors",
    "launchers",
    "python_files",
    "schedules",
    "objectives",
    "blocks",
    "ranks",
    "arrays",
    "preparation",
    "datasets",
    "scaling",
    "streaming",
    "rounding",
    "reading",
]
HOMES = {
    framework: {f"backends/{framework}_{part}.py" for part in parts}
    for framework, parts in {
        "jax": ("backend", "blocks", "ranks"),
        "torch": ("backend", "blocks", "compiled", "ranks", "rounding"),
    }.items()
}
FILES = sorted(PACKAGE.rglob("*.py"))


@cache
def trees() -> dict[str, ast.Module]:
    return {str(p.relative_to(PACKAGE)): ast.parse(p.read_text(encoding="utf8")) for p in FILES}


def imports(tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def room(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def test_imports_point_down() -> None:
    floor = {name: k for k, names in enumerate(FLOORS) for name in names}
    for path, tree in trees().items():
        own = room(path)
        if own in ("__init__", "__main__"):
            continue
        for name in imports(tree):
            parts = name.split(".")
            if parts[0] != "gdbackends" or parts[1] == "__version__" or parts[1] == own:
                continue
            assert floor[parts[1]] <= floor[own], f"{path} imports {name}, which lies above it"
            if floor[parts[1]] == floor[own]:
                assert own in GROUND, f"{path} imports its sibling {name}"
                assert GROUND.index(parts[1]) < GROUND.index(own), f"{path} imports {name}, against the order"


def test_no_cycle_between_modules() -> None:
    names = {"gdbackends." + p[:-3].replace("/", ".").removesuffix(".__init__"): p for p in trees()}
    graph = {}
    for name, path in names.items():
        wanted = list(imports(trees()[path]))
        graph[name] = {m for i in wanted for m in (i, i.rpartition(".")[0]) if m in names and m != name}
    for start in graph:
        seen, todo = set(), list(graph[start])
        while todo:
            at = todo.pop()
            if at not in seen and not start.startswith(at + "."):  # a folder's face gathers its own rooms
                seen.add(at)
                todo += graph[at]
        assert start not in seen, f"{start} imports itself in a circle"


def test_a_framework_is_imported_in_one_room() -> None:
    for framework, homes in HOMES.items():
        found = {p for p, tree in trees().items() if any(i.split(".")[0] == framework for i in imports(tree))}
        assert found == homes
    for package in ("altair", "vl_convert", "jinja2"):
        found = {room(p) for p, tree in trees().items() if any(i.split(".")[0] == package for i in imports(tree))}
        assert found == {"pictures"}


def test_importing_the_package_loads_no_framework() -> None:
    code = (
        "import sys, gdbackends; assert 'numpy' not in sys.modules; from gdbackends import *; import gdbackends.cli;"
        "heavy = {'jax', 'jaxlib', 'torch', 'rich', 'scipy', 'sklearn', 'matplotlib', 'polars', 'pandas', 'narwhals'};"
        "heavy |= {'sympy', 'pyarrow', 'altair', 'vl_convert', 'jinja2'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


def test_public_names() -> None:
    assert len(gdbackends.__all__) <= 20
    for name in gdbackends.__all__:
        assert getattr(gdbackends, name).__doc__
    assert set(gdbackends.__all__) <= set(dir(gdbackends))
    try:
        gdbackends.nothing  # noqa: B018
    except AttributeError as error:
        assert "its names are" in str(error)


def test_every_room_says_its_job_in_one_line() -> None:
    for path, tree in trees().items():
        text = ast.get_docstring(tree)
        assert text, path
        assert len(text.splitlines()[0]) > 20, path


def test_functions_are_small() -> None:
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                docstring = len((ast.get_docstring(node) or "").splitlines())
                assert (node.end_lineno or 0) - node.lineno - docstring <= 45, f"{path}: {node.name}"


def test_only_the_command_line_prints_and_exits() -> None:
    for path, tree in trees().items():
        if room(path) == "cli":
            continue
        called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        assert not called & {"print", "exit", "quit"}, path
        used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not used & {"sys.exit", "sys.stdout", "sys.stderr", "os._exit"}, path


def test_every_raise_says_what_was_wrong() -> None:
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                assert node.exc.args, f"{path}:{node.lineno}"


def test_one_test_file_for_each_room() -> None:
    tests = {p.stem.removeprefix("test_") for p in Path(__file__).parent.glob("test_*.py")}
    rooms = {room(str(p.relative_to(PACKAGE))) for p in FILES} - {"__init__", "__main__", "errors"}
    assert rooms <= tests


def test_a_class_name_means_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(path)
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_capabilities_of_a_backend_are_asked_for_in_one_place() -> None:
    for path, tree in trees().items():
        if room(path) == "backends":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
                asked = ast.unparse(node.args[0])
                assert not asked.endswith("backend"), f"{path}:{node.lineno}: {ast.unparse(node)}; use capabilities()"


def test_each_verb_needs_no_other() -> None:
    """check_gradient needs no descent; compare judges a loss without a closed bound as check_gradient does."""
    for path, tree in trees().items():
        used = {name.split(".")[1] for name in imports(tree) if name.startswith("gdbackends.")}
        if room(path) == "gradcheck":
            assert not used & {"descent", "comparison", "benchmarking", "streaming", "reading"}, path
        if room(path) == "comparison":
            assert "benchmarking" not in used, path


def test_the_benchmarks_use_no_command() -> None:
    for path in sorted((PACKAGE.parent / "benchmarks").rglob("*.py")):
        used = list(imports(ast.parse(path.read_text(encoding="utf8"))))
        assert not [name for name in used if name.startswith("gdbackends.cli")], path
