"""The rules of ARCHITECTURE.md, read from the source's own imports."""

import ast
import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "me5"
FILES = sorted(SOURCE.rglob("*.py"))
NAMES = [str(path.relative_to(SOURCE)) for path in FILES]

# Third-party package -> where it may be imported.
HOMES = {
    "openvino": ("engine/openvino.py", "engine/graph.py"),
    "torch": ("model/", "engine/torch.py", "training/", "compat/tensors.py"),
    "transformers": ("compat/tokens.py",),
    "sentence_transformers": ("evaluation/encoders/library.py", "data/teachers.py", "compat/util.py"),
    "huggingface_hub": ("hub.py",),
    "safetensors": ("weights.py", "model/folder.py", "training/state.py"),
    "tokenizers": ("encoding.py", "data/vocabulary.py", "gguf/tokenizer.py"),
    "kitoken": ("unigram.py",),
    "gguf": ("gguf/", "weights.py"),
    "pyarrow": (
        "files/",
        "bulk/",
        "search/store.py",
        "search/schema.py",
        "search/failures.py",
        "search/upgrading.py",
        "data/",
        "training/tokens.py",
    ),
    "obstore": ("files/objects.py", "bulk/folders/objects.py"),
    "ray": ("bulk/cluster.py",),
    "rensa": ("data/duplicates.py",),
    "peft": ("training/start.py",),
    "yaml": ("evaluation/readers/dataset.py", "search/readers/markdown.py"),
    "langcodes": ("evaluation/languages.py", "search/language.py"),
    "pathspec": ("search/files.py",),
    "lance": ("bulk/dataset.py",),
    "lancedb": ("search/connecting.py", "search/store.py", "search/foreign.py", "adapters/lancedb.py"),
    "chromadb": ("adapters/chroma.py",),
    "txtai": ("adapters/txtai.py",),
    "semantic_text_splitter": ("search/splitting.py",),
    "py3langid": ("search/language.py",),
    "pypdfium2": ("search/readers/pdf.py",),
    "docx": ("search/readers/docx.py",),
    "docutils": ("search/readers/rst.py",),
    "openpyxl": ("search/readers/xlsx.py",),
    "selectolax": ("search/readers/html.py",),
    "markdown_it": ("search/readers/markdown.py",),
    "langchain_core": ("adapters/langchain.py",),
    "llama_index": ("adapters/llama_index.py",),
    "haystack": ("adapters/haystack.py", "adapters/haystack_store.py"),
    "scipy": ("evaluation/",),
    "sklearn": ("evaluation/", "calibration/fitting.py"),
    "ir_measures": ("evaluation/metrics.py",),
    "mteb": ("evaluation/mteb.py",),
    "datasets": ("evaluation/mteb.py",),
    "bm25s": ("evaluation/bm25.py",),
    "httpx2": ("client/", "evaluation/encoders/endpoint.py", "synthesis/endpoint.py", "synthesis/asking.py"),
    "openai": ("synthesis/endpoint.py",),
    "fastapi": ("service/",),
    "starlette": ("service/",),
    "mcp": ("search/agents.py", "adapters/mcp.py", "service/wire/agents.py"),
    "mcp_types": ("search/agents.py",),
    "pydantic": ("service/wire/", "search/agents.py", "training/recipe.py", "synthesis/forms.py"),
    "orjson": ("service/wire/",),
    "uvicorn": ("service/server.py", "service/connection.py"),
    "uvloop": ("service/server.py",),
    "prometheus_client": ("service/metrics.py", "service/histogram.py", "service/tei_metrics.py"),
    "opentelemetry": ("service/tracing.py",),
    "typer": ("cli/",),
    "rich": ("cli/", "progress.py"),
}
ALLOWED_ANYWHERE = {"numpy", "me5"}
# Room -> own modules that it must not know.
FORBIDDEN = {
    "engine/": ("me5.prompts", "me5.tokenizer", "me5.preprocessor", "me5.embedder", "me5.bulk", "me5.cli"),
    "model/": ("me5.engine", "me5.tokenizer", "me5.batching", "me5.embedder", "me5.flow", "me5.bulk", "me5.cli"),
    "flow.py": ("me5.prompts", "me5.embedder", "me5.bulk", "me5.cli"),
    "preprocessor.py": ("me5.engine", "me5.embedder", "me5.flow", "me5.batching", "me5.cli"),
    "pairs.py": ("me5.engine", "me5.embedder", "me5.flow", "me5.batching", "me5.cli"),
    "layout.py": ("me5.model", "me5.engine", "me5.embedder", "me5.cli"),
    "batching.py": ("me5.prompts", "me5.tokenizer", "me5.embedder", "me5.engine"),
    "files/": (
        "me5.prompts",
        "me5.tokenizer",
        "me5.embedder",
        "me5.engine",
        "me5.bulk",
        "me5.search",
        "me5.data",
        "me5.evaluation",
        "me5.cli",
    ),
    "gguf/": ("me5.tokenizer", "me5.embedder", "me5.engine", "me5.model", "me5.bulk", "me5.search", "me5.cli"),
    "bulk/": (
        "me5.cli",
        "me5.search",
        "me5.evaluation",
        "me5.calibration",
        "me5.data",
        "me5.synthesis",
        "me5.training",
        "me5.service",
        "me5.client",
        "me5.adapters",
    ),
    "evaluation/": ("me5.cli", "me5.bulk", "me5.engine"),
    "evaluation/encoders/": ("me5.evaluation.task", "me5.evaluation.readers", "me5.evaluation.protocols"),
    "evaluation/readers/": ("me5.embedder", "me5.evaluation.encoders", "me5.evaluation.protocols"),
    "evaluation/protocols/": ("me5.embedder", "me5.evaluation.readers", "me5.evaluation.results"),
    "calibration/": ("me5.cli", "me5.bulk", "me5.search", "me5.service", "me5.client", "me5.engine"),
    "data/": ("me5.cli", "me5.bulk", "me5.search", "me5.service", "me5.client", "me5.training", "me5.synthesis"),
    "synthesis/": ("me5.cli", "me5.bulk", "me5.service", "me5.training", "me5.adapters", "me5.search.store"),
    "data/readers/": ("me5.embedder", "me5.evaluation", "me5.engine"),
    "training/": ("me5.cli", "me5.bulk", "me5.search", "me5.service", "me5.client", "me5.adapters"),
    "loaded.py": ("me5.cli", "me5.bulk", "me5.search", "me5.evaluation", "me5.service", "me5.client"),
    "reranker.py": ("me5.cli", "me5.bulk", "me5.search", "me5.evaluation", "me5.service", "me5.client"),
    "embedder.py": ("me5.cli", "me5.bulk", "me5.search", "me5.evaluation", "me5.service", "me5.client"),
    "search/": ("me5.cli", "me5.bulk", "me5.evaluation", "me5.engine", "me5.service", "me5.client", "me5.adapters"),
    "compat/": ("me5.cli", "me5.bulk", "me5.search", "me5.evaluation", "me5.service", "me5.client"),
    "adapters/": ("me5.cli", "me5.bulk", "me5.evaluation", "me5.engine", "me5.service", "me5.client"),
    "service/": ("me5.cli", "me5.bulk", "me5.evaluation", "me5.client", "me5.adapters"),
    "service/queue.py": ("me5.tokenizer", "me5.prompts", "me5.embedder", "me5.service.wire"),
    "service/pipeline.py": ("me5.service.wire", "me5.service.app"),
    "client/": ("me5.cli", "me5.bulk", "me5.evaluation", "me5.engine", "me5.service"),
}
DOORS = (
    "__init__.py",
    "__main__.py",
    "cli/",
    "engine/__init__.py",
    "embedder.py",  # to calibration, which few calls need
    # What reads GGUF files, where one comes.
    "checkpoint.py",
    "export.py",
    "fingerprint.py",
    "layout.py",
    "tokenizer.py",
    "trimming.py",
    "weights.py",
    "evaluation/encoders/__init__.py",
    "service/wire/search.py",
    "training/evaluate.py",
)


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> set[str]:
    """Every module that a tree imports, with `from me5 import hub` as `me5.hub`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "me5" or (SOURCE.parent / node.module.replace(".", "/")).is_dir():
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def run_time_tree(path: Path) -> ast.Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not is_type_checking(node)]
    return tree


def top_level_imports(path: Path) -> set[str]:
    """What a module knows from its first line on, for its types alone too: `TYPE_CHECKING` counts."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    known = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) or is_type_checking(node)]
    return set().union(*(imports(node) for node in known))


def standard_library() -> set[str]:
    import sys

    return set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_third_party_packages_stay_in_their_homes(path):
    name = str(path.relative_to(SOURCE))
    packages = {module.partition(".")[0] for module in imports(run_time_tree(path))} - standard_library()
    for package in packages - ALLOWED_ANYWHERE:
        assert package in HOMES, f"{name} imports {package}, which has no home in HOMES"
        assert name.startswith(HOMES[package]), f"{name} imports {package}, whose home is {HOMES[package]}"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_rooms_do_not_know_what_they_must_not(path):
    name = str(path.relative_to(SOURCE))
    for room, forbidden in FORBIDDEN.items():
        if name.startswith(room):
            inside = tuple(f"{module}." for module in forbidden)
            wrong = {module for module in imports(run_time_tree(path)) if f"{module}.".startswith(inside)}
            assert not wrong, f"{name} imports {wrong}"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_own_modules_are_imported_at_the_top_except_at_the_doors(path):
    name = str(path.relative_to(SOURCE))
    if name.startswith(DOORS):
        return
    functions = [node for node in ast.walk(run_time_tree(path)) if isinstance(node, ast.FunctionDef)]
    inside = {module for function in functions for module in imports(function) if module.startswith("me5")}
    assert not inside, f"{name} imports {inside} inside a function"


def test_every_folder_has_rooms_that_it_must_not_know():
    rooms = {path.parent for path in FILES if path.parent != SOURCE and path.parent.parent == SOURCE}
    # Nothing stands above the command line.
    assert {f"{room.name}/" for room in rooms} - {"cli/"} <= set(FORBIDDEN)


def test_there_are_no_import_cycles():
    known = {module_name(path) for path in FILES}
    graph = {
        module_name(path): {module for module in top_level_imports(path) if module in known and module != "me5"}
        for path in FILES
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"cycle: {' → '.join((*trail, module))}"
        if module not in done:
            for imported in graph[module]:
                # A package's __init__ runs before its modules, and may import them.
                if imported != module and not module.startswith(f"{imported}."):
                    visit(imported, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_no_module_is_a_drawer():
    named = {path.stem for path in FILES if path != SOURCE / "compat" / "util.py"}  # that name is another library's
    assert not named & {"utils", "util", "common", "helpers", "helper", "manager", "misc"}


def test_only_the_command_line_prints():
    for path in FILES:
        if path.relative_to(SOURCE).parts[0] != "cli":
            calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
            assert not [call for call in calls if getattr(call.func, "id", "") == "print"], path


def test_prompt_strings_stand_in_prompts_only():
    written = re.compile(r"""["'](Instruct: |query: |passage: )""")
    for path in FILES:
        name = path.relative_to(SOURCE).name
        # The catalogue records what one model's repository lists, and the prompt that a published score was made with.
        if name not in ("prompts.py", "catalog.py"):
            assert not written.search(path.read_text("utf-8")), f"{name} writes a prompt of its own"


def test_tensor_names_of_others_stand_in_weights_only():
    for path in FILES:
        if path.name != "weights.py":
            assert "LayerNorm.weight" not in path.read_text("utf-8"), path
            assert "attention.self" not in path.read_text("utf-8"), path


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_files_and_functions_stay_small(path):
    text = path.read_text("utf-8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 75, f"{node.name} is too long"


def table_rows(page: str) -> list[str]:
    """The first cell of every row of the tables on a page."""
    return re.findall(r"^\| (.+?) \| .+ \|$", (ROOT / page).read_text("utf-8"), re.MULTILINE)


def test_every_room_of_the_source_has_its_row():
    rows = {name for row in table_rows("ARCHITECTURE.md") for name in re.findall(r"`(.+?)`", row)}
    rooms = {path.name + ("/" if path.is_dir() else "") for path in SOURCE.iterdir() if path.name[0] not in "_."}
    assert rows == rooms - {"py.typed"}, "ARCHITECTURE.md has a row per file and folder at the top, and no others"


def test_every_dependency_has_its_sentence():
    listed = {name for row in table_rows("docs/dependencies.md") for name in re.findall(r"[\w.-]+", row)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = {re.match(r"[\w.-]+", line)[0] for line in chain(project["dependencies"], *extras)} - {"me5"}
    assert not wanted - listed, "each needs a row in docs/dependencies.md"


def test_every_module_says_what_it_is_for():
    for path in FILES:
        if path.stat().st_size:
            docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
            assert docstring, f"{path} has no docstring"
            assert docstring.splitlines()[0][-1] in ".:", f"{path}: the first line is not a sentence"
