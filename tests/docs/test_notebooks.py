"""The notebooks run from top to bottom, and what they show is what the page shows."""

import sys
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"
sys.path.insert(0, str(NOTEBOOKS.parent / "hooks"))

import notebooks  # noqa: E402

ALL = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.long
@pytest.mark.filterwarnings("default")  # of Jupyter's own
@pytest.mark.parametrize("name", ALL)
def test_a_notebook_runs(name: str, tmp_path: Path) -> None:
    book = notebooks.executed(NOTEBOOKS / name, tmp_path)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)


@pytest.mark.parametrize("name", ALL)
def test_its_page_has_every_cell_and_what_it_shows(name: str) -> None:
    page = notebooks.page(NOTEBOOKS / name)
    assert page.startswith("# ")
    assert "data:image/png;base64," in page
    assert "test error" in page
    assert "```python" in page
    assert len(ALL) == 2
