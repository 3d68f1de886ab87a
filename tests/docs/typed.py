"""The blocks of README and docs that a reader may type, and what each needs to be run.

A block needs nothing, unless a comment stands before it: `<!-- needs: WHAT -->`.

seconds   some seconds: run as it stands, in the slow tests
minutes   a person's patience: run in the slow tests, in a shorter form (`SHORTER`)
checkout  the makefile: its commands are asked what they would do
cifar10   the images, which are put in its place (a few)
network, gpus   run nowhere; like all others their commands are parsed, so flags and verbs exist
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEEDS = ("nothing", "seconds", "minutes", "checkout", "cifar10", "network", "gpus")
SHORTER = {
    "train": ("--dry-run",),
    "analyze": ("--images", "8", "--draws", "1", "--overwrite"),
    "export": ("--no-check",),
    "bench": ("--seconds", "0.1", "-b", "2"),
    "slim": ("--drop-blocks", "1", "--finetune-epochs", "0", "--max-loss", "100", "--accept-uncertain"),
}
RESUMED = ("--set", "train.iterations=4", "--set", "train.epochs=none")
"""… and of one that resumes: a step further than the longest of the pages' runs, which has three."""
NOT_SHORTER = {"train": "--minutes", "doctor": "--verify-resume", "slim": "--target-ms"}
"""A flag that the shorter form of a command does without (tests/journey and tests/runs prove resuming and budgets)."""
_BLOCK = re.compile(
    r"(?:^<!-- needs: (?P<needs>[^\n]*?) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """`text` of a fenced block at `line` of `page`."""

    page: str
    line: int
    language: str
    needs: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> list[list[str]]:
        """The commands of a bash block as words, without comments; those over several lines joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def shorter(words: list[str]) -> list[str]:
    """The command as a test has the patience to run it; `words` begin with the verb."""
    if "--resume" in words:
        return [*words[: words.index("--epochs") if "--epochs" in words else None], *RESUMED]
    kept, without = [*words, *SHORTER.get(words[0], ())], NOT_SHORTER.get(words[0])
    if without in kept:
        at = kept.index(without)
        del kept[at : at + (1 if without == "--verify-resume" else 2)]
    return kept


def pages() -> list[Path]:
    """README, CONTRIBUTING and every page of docs."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The blocks of bash and Python of that page; others are shown, not typed."""
    text = page.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        line = text[: match.start("language")].count("\n") + 1
        name = page.relative_to(ROOT).as_posix()
        found.append(Block(name, line, match["language"], match["needs"] or "nothing", match["text"]))
    return found
