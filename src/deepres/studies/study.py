"""A table or figure of a paper as data: what is printed there, and which runs would show it again."""

from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import Field, model_validator

from deepres.base.errors import unknown
from deepres.base.records import Record, parse
from deepres.recipes.printed import PaperFigure

Quantity = Literal[
    "error",
    "top5_error",
    "train_error",
    "ap",
    "ap50",
    "voc_ap",
    "localisation_error",
    "given_error",
    "response",
    "parameters",
    "multiply_adds",
    "layers",
    "convolutions",
    "units",
    "pixels",
    "channels",
    "path_mean",
    "path_layers",
    "path_share",
    "paths_log2",
    "paths_left",
    "other",
]
"""error, top5_error: of the test images, %. ap, ap50, voc_ap: of boxes in the test images, COCO's, at an overlap of .5,
VOC's, %: the higher, the better; where the column names a class, of this one.

localisation_error, given_error: of guesses of a class and a box, the best of five, and of the box of the true class, %.

train_error: of the training images as they were augmented, over the last pass through them, %. response: standard
deviation of the layers' responses, mean over the 3x3 layers (He et al. 2015, Fig. 7). `other` cannot be measured here.

The rest is read from the description, without images or training. parameters: millions. multiply_adds: 1e9. layers:
convolutions and linear layers along the longest way. convolutions: all, those of shortcuts too. units: residual units.
pixels, channels: the side and the channels of the map. path_mean, path_share, path_layers: of the paths through the
units (Veit et al. 2016), their mean length in units, the share with `lengths` units from the first to the second, %,
and the layers of a path through `lengths` units (none named: the mean over all). paths_log2: base-2 logarithm of how
many there are without `left_out` units. paths_left: the share that is left without one unit.
"""

HIGHER_IS_BETTER: frozenset[Quantity] = frozenset({"ap", "ap50", "voc_ap"})
OF_GUESSES: frozenset[Quantity] = frozenset({"localisation_error", "given_error"})

Shows = Literal[
    "table", "curves", "responses", "deletion", "random_deletion", "permutation", "paths", "reuse", "scatter"
]
"""What is drawn beside the table; "scatter" sets errors against parameters or multiply-adds."""


class Printed(PaperFigure):
    """A figure as the paper prints it, in the column's unit.

    `measure` says that this figure is counted otherwise than its column. `note` says what a reader must know of it:
    where ours is another, why.
    """

    measure: Quantity | None = None
    note: str = ""


class Column(Record):
    """What is measured in a column: `dataset` and `edits` (as `--set` takes them) override the study's own.

    `parts` are those of the network that are read, by their dotted names (none: all); `lengths` and `left_out` say
    which paths; `of_class` whose average precision it is. `lacking` says why no cell of it can be measured here. A
    figure that is read counts as reproduced where ours, rounded as far as the printed one, is that.
    """

    name: str
    measure: Quantity
    title: str
    dataset: str | None = None
    protocol: str | None = None
    edits: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    left_out: Annotated[int, Field(ge=0)] = 0
    of_class: str = ""
    tolerance: Annotated[float, Field(ge=0)] | None = None
    lacking: str = ""

    @property
    def higher_is_better(self) -> bool:
        """Whether the best of several figures is the largest."""
        return self.measure in HIGHER_IS_BETTER


class Row(Record):
    """A line of the table: a network of the catalogue under a recipe.

    `quoted`: the paper quotes the work of others; what is trained is left to them, a network's description is read.
    `lacking` says why this line cannot be run although others can; `panel` is the part of a figure that its curve is
    drawn in. `protocol` is how it is measured, where not as its column. `ensemble` so many runs, each with its seed,
    answer together. `begins` with the weights of another row's run: the study and the row.
    """

    label: str
    network: str | None = None
    recipe: str | None = None
    edits: tuple[str, ...] = ()
    seeds: Annotated[int, Field(ge=1)] | None = None
    protocol: str | None = None
    ensemble: Annotated[int, Field(ge=2)] | None = None
    begins: tuple[str, str] | None = None
    printed: dict[str, Printed] = Field(default_factory=dict)
    quoted: bool = False
    panel: str = ""
    note: str = ""
    lacking: str = ""

    @property
    def trained(self) -> bool:
        """Whether it is to be run: it has a network, and is not the work of others."""
        return self.network is not None and not self.quoted


class Claim(Record):
    """What the table is there to show: the row `better` has the better figure in `column` than the row `worse`."""

    column: str
    better: str
    worse: str
    says: str = ""


class Study(Record):
    """One table or figure; `name` is paper/place: resnet/table6.

    source     paper, place and protocol as the paper states it
    dataset    cifar10, cifar100, svhn, imagenet, voc, coco, det, loc; what the runs are trained and measured on
    recipe     a name from `deepres.recipes.by_name`; "" where nothing is trained
    seeds      runs of each cell at full scale, as many as the paper had
    tolerance  of the columns that are trained and set none: a difference up to this counts as reproduced, in the
               column's unit
    short      the share of the steps that is trained at short scale
    short_edits  what short scale changes besides, so that the claim shows in fewer steps
    short_rows the rows that short scale trains and compares; none named: all
    begins     the trained network that its runs begin with, in words; "" where they begin from nothing
    weights    … and where that is; short scale begins from nothing where none are named
    lacking    why none of it can be trained here: "" where it can
    """

    name: str
    title: str
    source: str
    shows: Shows = "table"
    dataset: str = "cifar10"
    recipe: str = ""
    protocol: str = "center"
    seeds: Annotated[int, Field(ge=1)] = 1
    tolerance: Annotated[float, Field(ge=0)] = 0.3
    short: Annotated[float, Field(gt=0, le=1)] = 0.05
    short_edits: tuple[str, ...] = ()
    short_rows: tuple[str, ...] = ()
    begins: str = ""
    weights: str | None = None
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...] = ()
    note: str = ""
    lacking: str = ""

    @model_validator(mode="after")
    def _complete(self) -> "Study":
        labels, columns = [row.label for row in self.rows], [column.name for column in self.columns]
        for names in (labels, columns):
            if len(names) != len(set(names)):
                raise ValueError(f"{self.name}: two of one name among {', '.join(names)}")
        for row in self.rows:
            if strange := [name for name in row.printed if name not in columns]:
                raise ValueError(f"{self.name}: {row.label} has a figure for {strange[0]}, which is no column")
        if strange := [label for label in self.short_rows if label not in labels]:
            raise ValueError(f"{self.name}: short_rows names {strange[0]}, which is no row")
        for claim in self.claims:
            if claim.column not in columns or claim.better not in labels or claim.worse not in labels:
                raise ValueError(
                    f"{self.name}: the claim '{claim.better}' before '{claim.worse}' names no row or column of it"
                )
        return self

    @property
    def paper(self) -> str:
        """The part of the name before the stroke."""
        return self.name.partition("/")[0]

    def rows_at(self, scale: str) -> tuple[Row, ...]:
        """The rows that are trained at "full" or "short" scale, with those that are only quoted."""
        if scale == "full" or not self.short_rows:
            return self.rows
        return tuple(row for row in self.rows if not row.trained or row.label in self.short_rows)

    def claims_at(self, scale: str) -> tuple[Claim, ...]:
        """The claims about these rows."""
        labels = {row.label for row in self.rows_at(scale)}
        return tuple(claim for claim in self.claims if {claim.better, claim.worse} <= labels)

    def only(self, labels: tuple[str, ...]) -> "Study":
        """The same study with these rows alone, and the claims about them.

        Raises:
            InputError: no such row; the nearest are offered.
        """
        for label in labels:
            if label not in (known := [row.label for row in self.rows]):
                raise unknown("row", label, known)
        rows = tuple(row for row in self.rows if row.label in labels)
        claims = tuple(claim for claim in self.claims if {claim.better, claim.worse} <= set(labels))
        return self.replace(rows=rows, claims=claims, short_rows=())

    def row(self, label: str) -> Row:
        """The row of that label."""
        return next(row for row in self.rows if row.label == label)

    def column(self, name: str) -> Column:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)


class Paper(Record):
    """A file of `published/`: one paper and its studies in the paper's order."""

    name: str
    citation: str
    studies: tuple[Study, ...]


@cache
def papers() -> tuple[Paper, ...]:
    """All papers, in the order of their files."""
    folder = files("deepres.studies") / "published"
    found = sorted(file.name for file in folder.iterdir() if file.name.endswith(".json"))
    return tuple(parse(Paper, (folder / name).read_text(encoding="utf-8"), name) for name in found)


@cache
def studies() -> dict[str, Study]:
    """Name -> study, paper by paper."""
    return {study.name: study for paper in papers() for study in paper.studies}


def study_named(name: str) -> Study:
    """The study of that name.

    Raises:
        InputError: there is none; the nearest are offered.
    """
    if name not in studies():
        raise unknown("study", name, studies(), see="deepres reproduce --list")
    return studies()[name]
