"""How a call shows that it goes on: in a notebook one line that is drawn anew, elsewhere as the commands do."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deepres.base.events import speaks
from deepres.base.watch import Watch

_STEERING = re.compile(r"\r|\x1b\[K")


class NotebookOutput:
    """The output below a notebook's cell, as a stream: lines that stay, and one, by `draw`, that is replaced."""

    encoding = "utf-8"

    def __init__(self, display: Any) -> None:
        self._display, self._drawn = display, ""
        self._handle: Any = None

    def write(self, text: str) -> int:
        """Lines that stay."""
        return sys.stdout.write(text)

    def draw(self, text: str) -> None:
        """This in place of what was drawn before: the notebook replaces it, where a terminal would draw over it."""
        line = _STEERING.sub("", text)
        if line == self._drawn:
            return
        self._drawn = line
        shown = {"text/plain": line}
        if self._handle is None:
            self._handle = self._display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)

    def fileno(self) -> int:
        raise OSError("a notebook's cell is no file")

    def flush(self) -> None:
        sys.stdout.flush()

    def isatty(self) -> bool:
        return False


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this: IPython is loaded, and its shell is no terminal's."""
    get_ipython: Any = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_ipython is not None and hasattr(get_ipython(), "kernel")


@contextmanager
def watching(what: str, progress: bool) -> Iterator[Watch]:
    """What a call says of itself while it goes on; nothing without `progress`, nor in processes that only help."""
    visible = progress and speaks(os.environ)
    if visible and in_notebook():
        from IPython.display import display

        with Watch(what, out=NotebookOutput(display), live=True) as watch:
            yield watch
    else:
        with Watch(what, visible=visible) as watch:
            yield watch
