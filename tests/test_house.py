"""The house: which way imports point, what is free of torch, how long a function may be."""

import ast
import importlib
import inspect
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("engine", "weights", "chat")
TORCH_FREE = [
    "engine", "engine.errors", "engine.params", "engine.config", "engine.template", "engine.events", "engine.stream",
    "engine.context", "weights.cli", "chat.cli", "chat.options", "chat.settings",
]  # fmt: skip
LONGEST_FUNCTION = 60  # lines
RUNS_CODE = {
    "eval", "exec", "Environment", "jinja2.Environment", "Template", "jinja2.Template", "pickle.load", "pickle.loads",
    "pickle.Unpickler", "marshal.load", "marshal.loads", "shelve.open", "os.system",
}  # fmt: skip
SOURCES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))


def names(sources: list[Path]) -> list[str]:
    return [str(p.relative_to(ROOT)) for p in sources]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(node: ast.AST) -> set[str]:
    """First names of what is imported anywhere below a node."""
    found = set()
    for n in ast.walk(node):
        if isinstance(n, ast.Import):
            found |= {alias.name.split(".")[0] for alias in n.names}
        elif isinstance(n, ast.ImportFrom) and n.module and not n.level:
            found.add(n.module.split(".")[0])
        elif isinstance(n, ast.Call) and ast.unparse(n.func).endswith("import_module") and n.args:
            first = n.args[0]
            if isinstance(first, ast.Constant):
                found.add(str(first.value).split(".")[0])
    return found


def outside_functions(module: ast.Module) -> ast.Module:
    """The module without the bodies of its functions, and without what only a type checker reads."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test).endswith("TYPE_CHECKING") else self.generic_visit(node)

    return Strip().visit(module)  # type: ignore[no-any-return]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("path", SOURCES, ids=names(SOURCES))
def test_imports_point_one_way(path: Path) -> None:
    """chat -> engine, weights -> engine; weights from chat only inside a function; tests from nowhere."""
    package = path.relative_to(ROOT).parts[0]
    module = tree(path)
    forbidden = {"engine": {"chat", "weights"}, "weights": {"chat"}, "chat": set()}[package] | {"tests"}
    assert not imported(module) & forbidden
    if package == "chat":
        assert "weights" not in imported(outside_functions(module))


def test_no_files_import_each_other_in_a_circle() -> None:
    """Also not inside functions, and not for types alone."""
    modules = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in SOURCES if p.stem != "__init__"}
    graph = {}
    for name, path in modules.items():
        froms = [n for n in ast.walk(tree(path)) if isinstance(n, ast.ImportFrom)]
        wanted = {m for n in froms for a in n.names for m in (n.module, f"{n.module}.{a.name}")}
        graph[name] = wanted & modules.keys()
    assert len(graph) > 300
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("module", TORCH_FREE)
def test_these_modules_are_free_of_torch(module: str) -> None:
    heavy = ("torch", "transformers", "tensorflow", "matplotlib")
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_importing_an_error_or_the_settings_from_engine_loads_no_torch() -> None:
    code = "import sys; from engine import TfmError, SamplingParams, Message, Finish; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_every_package_is_installed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    homes = {path.parent.relative_to(ROOT) for path in SOURCES}
    assert set(settings["packages"]) == {".".join(home.parts) for home in homes}


def test_no_file_is_called_what_everything_could_be_called() -> None:
    assert not [p for p in SOURCES if p.stem in ("utils", "util", "helpers", "helper", "common", "misc", "tools")]


def test_what_engine_offers_is_there_and_is_all() -> None:
    engine = importlib.import_module("engine")
    assert sorted(engine.__all__) == sorted(set(engine.__all__)) == sorted(engine._HOME)
    for name in engine.__all__:
        assert getattr(engine, name) is not None
    for wanted in ("Engine", "load_engine", "SamplingParams", "Message", "TfmError"):
        assert wanted in engine.__all__
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = engine.no_such_thing


def test_names_for_the_type_checker_are_the_names_at_run_time() -> None:
    module = tree(ROOT / "engine" / "__init__.py")
    checked = next(n for n in module.body if isinstance(n, ast.If))
    told = {f"{n.module}.{a.name}" for n in checked.body if isinstance(n, ast.ImportFrom) for a in n.names}
    engine = importlib.import_module("engine")
    assert told == {f"{home}.{name}" for name, home in engine._HOME.items()}


@pytest.mark.parametrize("path", SOURCES, ids=names(SOURCES))
def test_no_function_is_longer_than_a_screen(path: Path) -> None:
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions(path) if f.end_lineno}
    assert {name: n for name, n in long.items() if n > LONGEST_FUNCTION} == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [str(p) for p in SOURCES if not ast.get_docstring(tree(p)) and p.read_text().strip()]
    assert silent == []


def test_every_error_has_an_exit_code_and_only_those_of_the_design() -> None:
    """X4"""
    from engine import errors

    classes = [c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, errors.TfmError)]
    assert {c.exit_code for c in classes if c is not errors.TfmError} == {2, 3, 4, 5, 6}


def test_nothing_catches_exception_to_go_on() -> None:
    """Design: errors are caught in one place. A broad `except` must raise again, or be the edge of the command line."""
    broad = []
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            everything = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            if everything and not any(isinstance(n, ast.Raise) for n in ast.walk(node)):
                broad.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert [b for b in broad if b.startswith("engine/")] == []


def test_nothing_is_loaded_that_could_run_code() -> None:
    """X7: no pickle, no eval, no Jinja outside a sandbox, no torch.load without weights_only."""
    found = []
    for path in SOURCES:
        module = tree(path)
        for node in ast.walk(module):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                safe = any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
                if name in RUNS_CODE or (name == "torch.load" and not safe):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name}")
    assert found == []
