"""docs/coming-from.md: each line of ours is one that deepres takes, and means the same run."""

import click
import pytest
from typed import ROOT, blocks

from deepres.cli.main import Verbs, deepres
from deepres.cli.spelled import respelt

PAGE = ROOT / "docs" / "coming-from.md"
LINES = [words for block in blocks(PAGE) if block.language == "bash" for words in block.commands()]


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_each_line_is_one_that_deepres_takes(line: list[str]) -> None:
    verb, *words = respelt(deepres, line[1:])
    assert isinstance(deepres, Verbs)
    command = deepres.get_command(click.Context(deepres), verb)
    said = command.make_context(verb, list(words)).params
    if verb == "train" and said["resume"] is None:
        assert (said["source"], said["epochs"], said["model"]) == ("photos", 3, "resnet18")
    elif verb != "train":
        assert "runs/photos-1" in (said.get("run"), *said.get("runs", ()), *said.get("words", ()))


def test_there_are_lines() -> None:
    assert len(LINES) == 11
