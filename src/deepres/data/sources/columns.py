"""Which column of a table holds what: as it is named, as `data.columns` says, or as its cells show.

`path`, `label`, `split` and `group` are taken as they are; other names that the field uses are known, and a note says
which was taken. Where that leaves a choice, it is asked for:
`data.columns=path:COLUMN,label:COLUMN[,split:COLUMN][,group:COLUMN]`. Images of one group (of one patient, one burst)
stay together where splits or folds are cut.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepres.base.errors import MOST, InputError
from deepres.base.wording import some
from deepres.data.forms import FormName
from deepres.data.sources.labels import number_in, value_in
from deepres.data.sources.rows import Cells, cell_in, is_picture
from deepres.data.sources.split_names import split_named, split_of_cell, split_of_column

Role = Literal["path", "label", "split", "group"]
INDEX = "label_index"
"""The column that gives classes their order."""

_KNOWN: dict[Role, tuple[str, ...]] = {
    "path": (
        *("path", "filepath", "filename", "file", "files", "fname", "image", "images", "imagepath", "imagefile", "img"),
        *("imagefilename", "imgpath", "imagename", "imgname", "imageid", "imgid", "photo", "picture", "relpath", "fn"),
        *("filepaths", "filenames", "photoid", "idcode", "imgfile", "imagepaths", "imagesname", "imageids"),
    ),
    "label": (
        *("label", "labels", "class", "classes", "classname", "category", "categories", "categoryname", "target", "y"),
        *("targets", "species", "breed", "diagnosis", "tag", "labelname", "classlabel", "classid", "categoryid"),
        *("labelid", "kind", "type", "emotion"),
    ),
    "split": ("split", "set", "subset", "partition", "phase", "usage", "dataset", "datasplit", "splits"),
    "group": ("group", "groups", "groupid"),
}
_ALIKE = (
    "patient",
    "patientid",
    "subject",
    "subjectid",
    "burst",
    "burstid",
    "sequence",
    "sequenceid",
    "session",
    "site",
)
_BY_NUMBER = ("id", "name", "index", "key")  # a path only where nothing else is one
_BOXES = frozenset({"xmin", "ymin", "xmax", "ymax", "x1", "y1", "x2", "y2", "bbox", "bboxx", "boxes"})
_EXAMPLE = "data.columns=path:COLUMN,label:COLUMN"


@dataclass(frozen=True)
class Columns:
    """The numbers of the columns; with `each`, every name has a column of its own instead of `label`."""

    header: tuple[str, ...]
    path: int
    label: int | None
    split: int | None
    group: int | None
    index: int | None
    each: tuple[int, ...]
    notes: tuple[str, ...]


def plain(name: str) -> str:
    """`Image Name` -> `imagename`."""
    return re.sub(r"[\W_]+", "", name.casefold())


def is_header(cells: Sequence[str]) -> bool:
    """Whether some cell is a name that a column of paths has, and none is a picture's."""
    return any(plain(cell) in (*_KNOWN["path"], *_BY_NUMBER) for cell in cells) and not any(map(is_picture, cells))


def roles_named(columns: str | None, where: str) -> dict[Role, str]:
    """`path:file name,label:kind` -> {"path": "file name", "label": "kind"}.

    Raises:
        InputError: it is not written so.
    """
    if columns is None:
        return {}
    parts = re.split(r"(?:^|,)\s*(path|label|split|group)\s*:", columns)
    asked = dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
    if parts[0].strip() or not asked or len(asked) < len(parts) // 2 or not all(asked.values()):
        raise InputError(
            f"{where}: columns '{columns}'; wanted {_EXAMPLE}[,split:COLUMN][,group:COLUMN], by name or number from 1"
        )
    return asked


def columns_of(
    path: Path,
    header: tuple[str, ...] | None,
    rows: Sequence[Cells],
    asked: Mapping[Role, str],
    form: FormName | None = None,
) -> Columns:
    """The columns of a table of `rows`; without `header` they are told by their cells.

    `form` is that of the targets (None: whatever the cells show). Several columns of them are named `label:x,y`.

    Raises:
        InputError: a column that is asked for is not there, or none can be told; the columns are named.
    """
    width = len(header) if header is not None else max(len(cells) for _, cells in rows)
    names = header if header is not None else tuple(str(number) for number in range(1, width + 1))
    given: dict[Role, int] = {role: _named(path, names, role, name) for role, name in asked.items() if role != "label"}
    labels = _several(path, names, asked["label"]) if "label" in asked else ()
    boxes = [name for name in names if plain(name) in _BOXES]
    if boxes and not labels:
        raise InputError(
            f"{path}: column '{boxes[0]}' is about boxes; for one class an image say which columns count: {_EXAMPLE}"
        )
    if any(re.fullmatch(r"pixels?_?\d*", name.casefold()) for name in names) and "path" not in given:
        raise InputError(
            f"{path}: its columns hold pixels; wanted paths of files, or an .npz with x (N, H, W) uint8 and y (N,)"
        )
    finder = _Finder(path, names, rows, header is not None, given, labels, form)
    at_path = finder.path()
    at_split, at_group = finder.split(), finder.group()
    at_index = names.index(INDEX) if INDEX in names else None
    at_label, hot = finder.label({at_path, at_split, at_group, at_index})
    told = {"path": at_path, "label": at_label, "split": at_split, "group": at_group}
    roles = [f"{role} from '{names[at]}'" for role, at in told.items() if at is not None and names[at] != role]
    if hot:
        roles.append(f"label from {len(hot)} columns{finder.held(hot)} ({some([names[at] for at in hot])})")
    notes: tuple[str, ...] = ()
    if roles and not asked:
        notes = (f"{path.name}: columns: {', '.join(roles)}",)
    left = [name for at, name in enumerate(names) if at not in (*told.values(), at_index, *hot)]
    if left and header is not None:
        alike = next((name for name in left if plain(name) in _ALIKE), None)
        kept = f"; data.columns=…,group:{alike} keeps the images of one {alike} in one split or fold" if alike else ""
        notes += (f"{path.name}: columns not used: {some(left)}{kept}",)
    return Columns(names, at_path, at_label, at_split, at_group, at_index, hot, notes)


def split_among(table: Path, header: Sequence[str], rows: Sequence[Cells], taken: Iterable[int]) -> int | None:
    """The column of splits in a table of anything that has labels; those `taken` hold something else."""
    return _Finder(table, tuple(header), rows, True, {}, tuple(taken)).split()


@dataclass
class _Finder:
    """Finds one column after the other."""

    table: Path
    names: tuple[str, ...]
    rows: Sequence[Cells]
    named: bool
    given: Mapping[Role, int]
    labels: tuple[int, ...] = ()
    form: FormName | None = None

    def path(self) -> int:
        if "path" in self.given:
            return self.given["path"]
        found = self._by_name("path")
        if not found and self.named:
            found = [at for at, name in enumerate(self.names) if plain(name) in _BY_NUMBER]
        if not self.named:
            found = [
                at for at in range(len(self.names)) if all(is_picture(cell_in(cells, at)) for _, cells in self.rows)
            ]
        if len(found) > 1:
            found = [at for at in found if all(is_picture(cell_in(cells, at)) for _, cells in self.rows)] or found
        if not found and not self.named and len(self.names) == 2:
            return 0
        return self._only("path", "the paths of the images", found)

    def split(self) -> int | None:
        if "split" in self.given:
            return self.given["split"]
        known = self._by_name("split") + [
            at for at, name in enumerate(self.names) if self.named and split_of_column(name)
        ]
        found = [at for at in known if self.names[at] == "split" or self._are_splits(at)]
        if not found and (self.labels or self._by_name("label")):
            found = self._yes_or_no()
        if not self.named:
            found = [at for at in range(len(self.names)) if self._are_splits(at)]
        if not found:
            self._require_none(known)
        return self._only("split", "the splits", found) if found else None

    def _yes_or_no(self) -> list[int]:
        """The columns called `train` or `test`, beside one of labels, that say yes or no of each image.

        None where other columns do too: then these are classes, as trains are.
        """
        others = [at for at in range(len(self.names)) if self.named and at not in self.labels]
        said = [
            at for at in others if self.names[at] and self._zeros_and_ones((at,)) and at not in self._by_name("label")
        ]
        named = [at for at in said if split_named(self.names[at]) and self._are_splits(at)]
        return named if named == said else []

    def _require_none(self, known: Sequence[int]) -> None:
        """Refuse a column of splits of which some cell is none: another split would be cut without a word.

        Raises:
            InputError: some cells are splits and others not, or all are numbers from 0 to 2.
        """
        for at in known:
            cells = [(line, cell_in(cells, at)) for line, cells in self.rows]
            strange = next((one for one in cells if not split_of_cell(self.names[at], one[1])), None)
            some = any(split_of_cell(self.names[at], cell) for _, cell in cells)
            if strange and (some or {cell for _, cell in cells} <= {"0", "1", "2"}):
                raise InputError(
                    f"{self.table}: line {strange[0]}: '{strange[1]}' in column '{self.names[at]}'; wanted train, val "
                    "or test in each cell; correct it, or rename the column if it holds no splits"
                )

    def group(self) -> int | None:
        if "group" in self.given:
            return self.given["group"]
        found = self._by_name("group")
        return self._only("group", "the groups", found) if found else None

    def label(self, others: set[int | None]) -> tuple[int | None, tuple[int, ...]]:
        if self.labels:
            only = len(self.labels) == 1 and not (self.form == "classes" and self._zeros_and_ones(self.labels))
            return (self.labels[0], ()) if only and self.form != "numbers" else (None, self.labels)
        left = [at for at in range(len(self.names)) if at not in others]
        found = [at for at in self._by_name("label") if at in left] or (left if len(left) == 1 else [])
        if not found and self.table.suffix.lower() == ".lst" and len(left) == 2:  # MXNet's: number, label, path
            found = left[1:]
        if self.form == "numbers":
            numeric = [at for at in found or left if self._numbers((at,)) is not None]
            numeric = numeric or [at for at in found or left if self._mostly(at, number_in)]  # whose others are told
            written = [at for at in found or left if self._has_digits(at)]
            numeric = numeric or written * (len(found or left) == 1)  # such as 1,5: what is wanted there is told
            return None, (self._only("label", "the numbers", numeric),)
        if not found and self.named and len(left) > 1 and self._zeros_and_ones(left):
            return None, tuple(left)
        if not found and self.named and len(left) > 1 and all(self._mostly(at, _zero_or_one) for at in left):
            return None, tuple(left)  # the cells that are neither are told
        if not found and not left:
            raise InputError(f"{self.table}: holds paths and no labels; wanted a second column with the class of each")
        return self._only("label", "the labels", found), ()

    def _by_name(self, role: Role) -> list[int]:
        if not self.named:
            return []
        if role in self.names:
            return [self.names.index(role)]
        return [at for at, name in enumerate(self.names) if plain(name) in _KNOWN[role]]

    def _are_splits(self, at: int) -> bool:
        return all(split_of_cell(self.names[at], cell_in(cells, at)) for _, cells in self.rows)

    def held(self, columns: Sequence[int]) -> str:
        """` of 0 and 1`, where that is all they hold."""
        return " of 0 and 1" if self._zeros_and_ones(columns) else ""

    def _zeros_and_ones(self, columns: Sequence[int]) -> bool:
        numbers = self._numbers(columns, value_in)
        return numbers is not None and bool(np.isin(numbers, (0, 1)).all())

    def _numbers(self, columns: Sequence[int], read: Callable[[str], float] = number_in) -> NDArray[np.float64] | None:
        found = np.array([[read(cell_in(cells, at)) for at in columns] for _, cells in self.rows])
        return found if np.isfinite(found).all() else None

    def _has_digits(self, at: int) -> bool:
        return any(letter.isdigit() for _, cells in self.rows for letter in cell_in(cells, at))

    def _mostly(self, at: int, read: Callable[[str], float]) -> bool:
        """Whether more than half of the cells are read as numbers."""
        return 2 * sum(isfinite(read(cell_in(cells, at))) for _, cells in self.rows) > len(self.rows)

    def _only(self, role: Role, what: str, found: list[int]) -> int:
        if len(found) == 1:
            if self.names.count(self.names[found[0]]) > 1:
                raise InputError(f"{self.table}: two columns are called '{self.names[found[0]]}'; rename one")
            return found[0]
        there = some((self.names[at] for at in found or range(len(self.names))), MOST)
        of = f"{len(self.names)} columns and no line with names" if not self.named else there
        every = ",".join(self.names[at] if self.named else str(at + 1) for at in found)
        several = self.form == "numbers" and role == "label" and 1 < len(found) < 6
        by = "1" if not self.named else "COLUMN"
        raise InputError(
            f"{self.table}: which column holds {what}? there are {of}; "
            f"say it with --set data.columns=path:{by},label:{'2' if by == '1' else by}"
            + (f",{role}:COLUMN" if role in ("split", "group") else "")
            + (f"; label:{every} are all of them" if several else "")
        )


def _named(path: Path, names: tuple[str, ...], role: Role, name: str) -> int:
    same = [at for at, other in enumerate(names) if other == name] or [
        at for at, other in enumerate(names) if plain(other) == plain(name) and plain(name)
    ]
    if len(same) == 1:
        return same[0]
    if name.isdigit() and 1 <= int(name) <= len(names):
        return int(name) - 1
    problem = f"{len(same)} columns '{name}'" if same else f"no column '{name}'"
    raise InputError(f"{path}: {problem}, there are {some(names, MOST)}; set data.columns={role}:COLUMN")


def _several(path: Path, names: tuple[str, ...], asked: str) -> tuple[int, ...]:
    """The columns of targets: one by its whole name, or several between commas."""
    every = [asked] if asked in names else [part.strip() for part in asked.split(",")]
    return tuple(_named(path, names, "label", name) for name in every if name)


def _zero_or_one(text: str) -> float:
    value = value_in(text)
    return value if value in (0, 1) else nan
