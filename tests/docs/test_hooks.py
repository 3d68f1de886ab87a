"""The pages that are made from the source: errors, commands."""

import re
import sys
from pathlib import Path

from deepres.cli.main import VERBS

HOOKS = Path(__file__).parents[2] / "docs" / "hooks"
sys.path.insert(0, str(HOOKS))

import commands  # noqa: E402
import errors  # noqa: E402
import trainings  # noqa: E402


def test_every_refusal_of_the_source_is_found_with_what_to_do() -> None:
    found = errors.refusals()
    assert len(found) > 500
    assert {one.room for one in found} <= set(errors.ROOMS)
    one = next(one for one in found if "one class only" in one.text)
    assert (one.said, one.remedy) == ("‹source›: one class only ('…')", "wanted at least two to tell apart")
    one = next(one for one in found if one.text.startswith("compare …: one run alone"))
    assert one.remedy == "name at least two"


def test_the_list_shows_each_text_once_and_escapes_it() -> None:
    listed = errors.listing()
    items = re.findall(r"<li>.*?</li>", listed)
    assert len(items) == len(set(items)) > 450
    assert all("<" not in re.sub(r"</?(li|span|br)[^>]*>", "", item) for item in items)


def test_the_commands_page_has_every_verb_and_every_flag() -> None:
    page = commands.page()
    names = [name for name, _ in commands.every()]
    assert {name.split()[0] for name in names} == set(VERBS)
    for name, command in commands.every():
        section = page.split(f"\n## deepres {name}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            assert all(each in section for each in parameter.opts if each.startswith("--")), (name, parameter.name)


def test_the_table_of_trainings_has_every_row() -> None:
    from deepres.nn.weights.trainings import trainings as every

    table = trainings.table()
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {len(trainings.COLUMNS) + 2}
    assert len(rows) == 2 + sum(one.source is not None for one in every())
    assert all(f"`{name}`" in table for one in every() for name in one.names)
