"""A notebook as a page, outputs below its cells; `python docs/hooks/notebooks.py` runs all and keeps what they show."""

from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient


def page(path: Path) -> str:
    """Markdown cells as they are, code as blocks, outputs as text or pictures."""
    book = nbformat.read(path, as_version=4)
    parts = []
    for cell in book.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        else:
            parts.append(f"```python\n{cell.source}\n```")
            said = "".join(output.text for output in cell.outputs if output.output_type == "stream")
            parts += [f"```text\n{said.rstrip()}\n```"] if said else []
            parts += [shown for output in cell.outputs if (shown := _shown(output))]
    return "\n\n".join([*parts, f"[This page as a notebook]({path.name})"]) + "\n"


def _shown(output: nbformat.NotebookNode) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img class="output" alt="output" src="data:image/png;base64,{data["image/png"].strip()}">'
    return f"```text\n{data['text/plain']}\n```" if data.get("text/plain") else ""


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of running it now, in `folder`."""
    book = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in book.cells:
        cell.metadata = {}  # times of execution differ each time
    return book


if __name__ == "__main__":
    for each in sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb")):
        with TemporaryDirectory() as place:
            nbformat.write(executed(each, Path(place)), each)
        print(each)
