"""Names of classes that labels give by their numbers in WordNet: ILSVRC's `map_det.txt`."""

import re
from collections.abc import Mapping
from pathlib import Path

from deepres.base.errors import InputError
from deepres.base.files import read_text
from deepres.data.sources.box_labels import Labelled

FILE = "map_det.txt"
_NUMBER = re.compile(r"n\d{8}")


def wordnet_names(root: Path) -> dict[str, str]:
    """WordNet number -> name, from lines such as `n02672831 1 accordion` of the file in `root`; none: no such file.

    Raises:
        InputError: a line that says no name, or a number or name that stands there twice.
    """
    path = root / FILE
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    for line, text in enumerate(read_text(path, "names of WordNet's numbers").splitlines(), 1):
        if not text.strip():
            continue
        wordnet, *rest = text.split(None, 2)
        if not _NUMBER.fullmatch(wordnet) or len(rest) < 2:
            raise InputError(f"{path}:{line}: '{text.strip()[:80]}'; wanted such as n02672831 1 accordion")
        name = rest[1].strip()
        if wordnet in found or name in found.values():
            raise InputError(f"{path}:{line}: {wordnet} {name} stands there twice; keep it once")
        found[wordnet] = name
    return found


def name_objects(pictures: list[Labelled], names: Mapping[str, str]) -> None:
    """Give the objects of these pictures their names in place of their numbers.

    Raises:
        InputError: an object of a number without a name.
    """
    for picture in pictures:
        for one in picture.objects:
            if one.name not in names:
                raise InputError(
                    f"{picture.labels.name}: object {one.number} ({one.name}): {FILE} has no such number; add it, "
                    f"or take {FILE} away where classes are named"
                )
        picture.objects[:] = [one._replace(name=names[one.name]) for one in picture.objects]
