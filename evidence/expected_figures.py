"""The figures of whole runs that the studies have, for the runs' own floor: `python evidence/expected_figures.py`.

Writes `src/deepres/recipes/expected.json`, from `src/deepres/studies/published/`: errors of test images that a paper
prints for a recipe, a network and a set that are trained from nothing. Of a run that several tables print, the first.
"""

import json
from pathlib import Path

from deepres.recipes.expected import FILE, TRAINED_ON, Expected
from deepres.recipes.printed import PaperFigure
from deepres.studies.plan import cells
from deepres.studies.study import Study, studies

PATH = Path(__file__).parents[1] / "src" / "deepres" / "recipes" / FILE
DEFAULTS = {name: field.default for name, field in Expected.model_fields.items() if not field.is_required()}


def figures() -> list[Expected]:
    """Study by study, as they stand in the papers; tables before figures of the same run."""
    found: dict[object, Expected] = {}
    for study in sorted(studies().values(), key=lambda study: (study.paper, "/fig" in study.name)):
        for one in _of(study):
            found.setdefault((one.recipe, one.network, one.edits, one.dataset, one.measure, one.protocol), one)
    return list(found.values())


def _of(study: Study) -> list[Expected]:
    found = []
    for cell in cells(study, "full", seeds=1):
        row, column = cell.row, cell.column
        printed, dataset = row.printed.get(column.name), column.dataset or study.dataset
        whole = row.ensemble is None and row.begins is None and not study.begins and printed is not None
        if not whole or not cell.jobs or column.measure not in ("error", "top5_error") or dataset not in TRAINED_ON:
            continue
        assert printed is not None
        assert row.network is not None
        if printed.measure not in (None, column.measure):
            continue
        fields = {name: getattr(printed, name) for name in PaperFigure.model_fields}
        found.append(
            Expected(
                **fields,
                recipe=row.recipe or study.recipe,
                network=row.network,
                edits=(*row.edits, *column.edits),
                dataset=dataset,
                measure=column.measure,
                protocol=cell.protocol,
                tolerance=study.tolerance if column.tolerance is None else column.tolerance,
                place=",".join(study.source.partition(":")[0].split(",")[:2]),
                row=row.label,
            )
        )
    return found


def text() -> str:
    """The file: a line a figure, without what is usual."""
    rows = [one.model_dump(mode="json") for one in figures()]
    plain = [{name: value for name, value in row.items() if value != _default(name)} for row in rows]
    lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in plain)
    return f'{{\n "figures": [\n{lines}\n ]\n}}\n'


def _default(name: str) -> object:
    return [] if DEFAULTS.get(name) == () else DEFAULTS.get(name, ...)


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
