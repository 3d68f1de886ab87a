"""A notebook as a page: its cells in order, what each printed and drew below it."""

from pathlib import Path

import nbformat


def page(path: Path) -> str:
    """Markdown cells as they are, code as blocks, outputs as text or pictures."""
    book = nbformat.read(path, as_version=4)
    parts = []
    for cell in book.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        else:
            parts.append(f"```python\n{cell.source}\n```")
            parts += [shown for output in cell.outputs if (shown := _shown(output))]
    return "\n\n".join([*parts, f"[This page as a notebook]({path.name})"]) + "\n"


def _shown(output: nbformat.NotebookNode) -> str:
    if output.output_type == "stream":
        return f"```text\n{output.text.rstrip()}\n```" if output.name == "stdout" else ""
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="output" src="data:image/png;base64,{data["image/png"].strip()}">'
    return f"```text\n{data['text/plain']}\n```" if "text/plain" in data else ""
