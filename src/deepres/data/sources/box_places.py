"""Which picture a file of labels is of: folders of labels and of pictures, paired by their names."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from deepres.base.errors import InputError
from deepres.base.wording import counted, some
from deepres.data.sources.box_labels import Labelled
from deepres.data.sources.scan import Scan
from deepres.data.sources.splits import Split
from deepres.data.sources.tree import in_order, is_neutral

ABOUT_LABELS = frozenset({"annotations", "annotation", "xmls", "xml", "labels", "bboxes", "boxes", "gts"})
"""Names of folders that hold labels."""

_TABLE = 10


def label_folders(others: Iterable[str], suffix: str) -> dict[str, list[str]]:
    """Folder -> names of the files in it that end so, all in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in in_order(path for path in others if path.lower().endswith(suffix)):
        folder, _, name = path.rpartition("/")
        found[folder].append(name)
    return dict(found)


class PicturesByFolder:
    """The pictures below `root` by folder and name; which folder of them belongs to a folder of labels."""

    def __init__(self, root: Path, scan: Scan) -> None:
        self._root = root
        self._folders: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self._paired: dict[str, str | None] = {}
        self._used: set[str] = set()
        self._settled: set[str] = set()
        self.notes: list[str] = list(scan.notes)
        for path in scan.pictures:
            folder, _, name = path.rpartition("/")
            names = self._folders[folder]
            names[_plain(name)].append(path)
            names[_plain(name.rpartition(".")[0] or name)].append(path)

    def relative(self, folder: Path) -> str:
        """A folder as it is called here."""
        path = os.path.relpath(folder, self._root).replace(os.sep, "/")
        return "" if path == "." else path

    def folder_for(self, labels: str) -> str | None:
        """The folder of the pictures of this folder of labels; None where there is none, or which is not clear.

        It is the same folder; or one of which one name in its path differs, one such as `images` before others; or the
        only one.
        """
        if labels not in self._paired:
            self._paired[labels] = self._found(labels)
        return self._paired[labels]

    def beside(self, labels: str, name: str) -> Path | None:
        """The picture called `name`, with its suffix or without, for a file in the folder `labels`.

        Raises:
            InputError: several are.
        """
        folder = self.folder_for(labels)
        found = [] if folder is None or not name else self._folders[folder].get(_plain(name), [])
        if len(found) > 1:
            raise InputError(f"{self._root}: '{name}' may be {some(found)}; keep one of them")
        if not found:
            return None
        self._used.add(found[0])
        return self._root / found[0]

    def looked(self, labels: str) -> str:
        """Where pictures of this folder of labels were looked for."""
        folder = self.folder_for(labels)
        if folder is None:
            return f" ({self._root} has pictures in {some(self._folders)}: which are they?)" if self._folders else ""
        return f" in {self._root / folder}"

    def settle(self, labels: str) -> None:
        """What is left in the folder for `labels` is not wanted: a list says which pictures are."""
        folder = self.folder_for(labels)
        if folder is not None:
            self._settled.add(folder)

    def left(self) -> list[Path]:
        """Pictures that no file of labels is of, in folders that labels belong to."""
        folders = {folder for folder in self._paired.values() if folder is not None} - self._settled
        every = {path for folder in folders for paths in self._folders[folder].values() for path in paths}
        return [self._root / path for path in in_order(every - self._used)]

    def _found(self, labels: str) -> str | None:
        if labels in self._folders:
            return labels
        if len(self._folders) == 1:
            return next(iter(self._folders))
        parts = labels.split("/") if labels else []
        near: list[tuple[bool, str]] = []
        for folder in self._folders:
            names = folder.split("/") if folder else []
            differ = [place for place, pair in enumerate(zip(parts, names, strict=False)) if pair[0] != pair[1]]
            if len(names) == len(parts) and len(differ) == 1:
                near.append((is_neutral(names[differ[0]]), folder))
        neutral = [folder for is_so, folder in near if is_so]
        chosen = neutral or [folder for _, folder in near]
        if not chosen:  # images/ for annotations/train/
            chosen = [f for f in self._folders if is_neutral(f.rpartition("/")[2]) and f.count("/") < len(parts)]
        return chosen[0] if len(chosen) == 1 else None


def require_labelled(
    root: Path, found: Mapping[Split | None, list[Labelled]], pictures: PicturesByFolder, unlabelled: str
) -> dict[Split, list[Labelled]]:
    """The pictures of each split, all of "train" where there is none; pictures without labels as `unlabelled` says.

    Raises:
        InputError: pictures without labels under "stop"; one of two files of labels; some folders are splits and others
            are not.
    """
    by_picture: dict[Path, Labelled] = {}
    for items in found.values():
        for item in items:
            other = by_picture.setdefault(item.picture, item)
            if other is not item:
                raise InputError(f"{item.picture}: {other.labels} and {item.labels} are both about it; keep one")
    left = pictures.left()
    if left and unlabelled == "stop":
        more = f" (nor have {len(left) - 1} more of {len(left) + len(by_picture):,})" if len(left) > 1 else ""
        raise InputError(
            f"{left[0]}: no label file{more}; data.unlabelled=empty takes it as a picture without objects",
            [f"  {path.name}" for path in left[:_TABLE]] if more else (),
        )
    named: dict[Split, list[Labelled]] = {split: list(items) for split, items in found.items() if split is not None}
    loose = list(found.get(None, []))
    of_folder: dict[Path, set[Split]] = defaultdict(set)
    for split, items in named.items():
        for item in items:
            of_folder[item.picture.parent].add(split)
    for path in left:
        splits = of_folder[path.parent]
        (named[next(iter(splits))] if len(splits) == 1 else loose).append(Labelled(path, path, [], missing=True))
    if loose and named:
        raise InputError(
            f"{root}: {counted(len(loose), 'picture')}, such as {loose[0].picture}, in no split beside "
            f"{', '.join(named)}; move them into one of the folders"
        )
    named = named or {"train": loose}
    if not any(named.values()):
        raise InputError(f"{root}: labels, but no picture that they are of; wanted both")
    return named


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name)
