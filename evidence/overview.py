"""Every printed figure beside ours -> `overview.html`, `docs/results.md`: `python evidence/overview.py`.

What descriptions give is read anew; what was trained at full length is taken from `trained.json`, claims at short scale
from `study_*_short.json`. Times to go are at the rate of `training_step_cifar.json`.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deepres.arch.catalogue.lookup import architecture
from deepres.arch.readings.cost import cost
from deepres.base.wording import duration
from deepres.studies.results import StudyResults, page, results, summary
from deepres.studies.speed import NETWORK, MachineSpeed
from deepres.studies.study import Study, papers, studies
from deepres.studies.verdict import CheckedClaim, Outcome, outcome

HERE = Path(__file__).parent
PAGE, TEXT = HERE / "overview.html", HERE.parent / "docs" / "results.md"
COMMAND = "python evidence/overview.py"
NOWHERE = HERE / "no-runs"
SETS = {
    "cifar100": "CIFAR-100",
    "svhn": "SVHN",
    "imagenet": "ImageNet",
    "voc": "VOC 2007 and 2012",
    "coco": "COCO",
    "det": "ImageNet DET",
    "loc": "ImageNet with boxes",
}
ABSENT = {name: f"{said}: not at hand" for name, said in SETS.items()}
"""Sets that the runs of this project have not had."""


def collect(trained: Path = HERE / "trained.json", chosen: Iterable[Study] | None = None) -> list[StudyResults]:
    """Every study, or those chosen, paper by paper, as the evidence has it."""
    facts = json.loads(trained.read_text()) if trained.is_file() else {"outcomes": [], "runs": []}
    hours = {run["name"]: run["minutes"] / 60 for run in facts["runs"]}
    own_last = sorted(facts["outcomes"], key=lambda one: not one["in_float32"])  # the study's own precision counts
    ended = [Outcome.model_validate(one["outcome"]) for one in own_last]
    found = []
    for study in studies().values() if chosen is None else chosen:
        name = study.name
        whole = outcome(study, "full", NOWHERE, absent=ABSENT)
        own = [one for one in ended if one.study == name]
        for one in own:
            known = {(each.row, each.column): each for each in one.found}
            claims = {held.claim: held for held in one.claims if held.holds is not None}
            whole = whole.replace(
                found=tuple(known.get((each.row, each.column), each) for each in whole.found),
                claims=tuple(claims.get(held.claim, held) for held in whole.claims),
            )
        found.append(results(study, whole, hours, _short(name)))
    return found


def _short(name: str) -> list[CheckedClaim]:
    path = HERE / f"study_{name.replace('/', '_')}_short.json"
    claims: list[dict[str, Any]] = json.loads(path.read_text())["claims"] if path.is_file() else []
    column = studies()[name].column
    return [CheckedClaim.model_validate({**one, "title": column(one["claim"]["column"]).title}) for one in claims]


def rate() -> MachineSpeed:
    """Multiply-adds of training a second, as the step of the smallest network was measured."""
    facts = json.loads((HERE / "training_step_cifar.json").read_text())
    ours = next(row for row in facts["rows"] if row["contender"] == "deepres train")
    macs = 3 * cost(architecture(NETWORK)).macs * ours["images_per_second"]["median"]
    return MachineSpeed(hardware=facts["hardware"], network=NETWORK, macs_per_second=macs)


def text(found: list[StudyResults], rate: MachineSpeed) -> str:
    """The page of the documentation: a line a study."""
    by_name = {one.study: one for one in found}
    lines = [
        "# All studies",
        "",
        f"{summary(found)}.",
        "",
        "Every printed figure with ours, the verdict, seeds, hours or the reason why it is not there: "
        "[overview.html](../evidence/overview.html); both are written by "
        f"`{COMMAND}`. What was trained, and how: [the papers' results](results/papers.md).",
        "",
        f"Time to go is at {rate.macs_per_second:.2g} multiply-adds a second ({rate.network}, {rate.hardware}); "
        "runs that studies share are counted in each.",
    ]
    for paper in papers():
        lines += ["", f"## {paper.citation}", ""]
        lines += ["| study | printed figures | claims | to go, or why not |", "| --- | --- | --- | --- |"]
        lines += [_line(by_name[study.name], rate) for study in paper.studies]
    return "\n".join(lines) + "\n"


def _line(one: StudyResults, rate: MachineSpeed) -> str:
    figures = ", ".join(f"{number} {kind}" for kind, number in one.counts.items())
    claims, short = ([holds for _, holds in each] for each in (one.claims, one.short))
    held = f"{claims.count(True)} of {len(claims)} hold" if claims and claims.count(None) < len(claims) else ""
    if held and None in claims:
        held += f", {claims.count(None)} not known yet"
    if short:
        at_short = f"{short.count(True)} of {len(short)} hold at {one.share} of the steps"
        held = "; ".join(filter(None, [held, at_short]))
    left = [f"{one.hours:.1f} h trained"] if one.hours else []
    if one.lacking or one.left:
        left.append(one.lacking or duration(rate.seconds(one.left)))
        left += sorted({each.reason for each in one.figures if each.reason in ABSENT.values()})
    title = re.sub(r"\|", "/", one.title)
    cells = [f"**{one.study}** {title}", figures, held or ("open" if claims else ""), "; ".join(left)]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    everything = collect()
    PAGE.write_text(page(everything, rate(), COMMAND))
    TEXT.write_text(text(everything, rate()))
    print(summary(everything))
