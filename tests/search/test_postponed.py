"""Packages that are loaded when they are needed."""

import subprocess
import sys

import pytest

from me5.search.postponed import postpone


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "__init__.py").write_text("from late.part import VALUE\nDOUBLE = 2 * VALUE\n")
    (tmp_path / "late" / "part.py").write_text("VALUE = 21\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "late"
    for name in [name for name in sys.modules if name.partition(".")[0] == "late"]:
        del sys.modules[name]


def test_its_code_runs_when_a_name_is_asked_for(package):
    postpone(package)
    from late.part import VALUE

    late = sys.modules["late"]
    assert (VALUE, late.part.VALUE, "DOUBLE" in vars(late)) == (21, 21, False)
    from late import DOUBLE

    assert DOUBLE == 42
    assert "__getattr__" not in vars(late)
    with pytest.raises(AttributeError):
        _ = late.nothing


def test_what_is_loaded_or_not_there_is_left_alone(package):
    import late

    postpone(package)
    assert sys.modules["late"] is late
    postpone("there_is_no_such_package")
    assert "there_is_no_such_package" not in sys.modules


def test_a_search_needs_no_rest_client_and_no_reader():
    names = (
        "lancedb",
        "lance_namespace_urllib3_client.api",
        "docx",
        "markdown_it",
        "openpyxl",
        "docutils",
        "pypdfium2",
    )
    code = f"import sys; from me5.search import Index; print(*(name for name in {names} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["lancedb"]
