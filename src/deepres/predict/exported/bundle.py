"""What an exported file says of itself: enough to answer with names, and to know which weights answer.

In a file's metadata each fact is one text by its name; `names` is JSON from index to class, as the field has it.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from deepres.base.errors import InputError
from deepres.base.reading import parse_json
from deepres.base.records import Record, build
from deepres.base.version import VERSION
from deepres.data.transforms.config import Preparation
from deepres.tasks.kinds import AnyTask, task_in

Input = Literal["image", "fitted"]
FilePrecision = Literal["float32", "int8"]

UNCHECKED = "unchecked"
"""What `parity` says of a file that nobody has compared with its network."""
NOT_STATED = "not stated"
_MARK = "deepres_version"


class Bundle(Record):
    """`input` "fitted": uint8 pictures of `shape` (C, H, W); "image": of any height and width, fitted in the file.

    `task` and `preparation` are the run's own, `task` with what held-out images settled: its temperature is in the
    file, its thresholds and intervals are the reader's to apply. `parity` is what was found when the file was compared
    with its network. `unnamed`: the names are numbers only. `run` is what the folder of its run is called, nothing of
    where it lies. `weight_bits` is for those who read it; deepres asks the weights themselves (saturation.py).
    """

    input: Input
    precision: FilePrecision = "float32"
    weight_bits: Literal[7, 8] | None = None
    names: tuple[str, ...]
    unnamed: bool = False
    task: dict[str, JsonValue]
    preparation: dict[str, JsonValue]
    network: str
    shape: tuple[Annotated[int, Field(ge=1, le=4096)], ...]
    weights_sha256: str | None = None
    run: str | None = None
    deepres_version: str = VERSION
    license: str = NOT_STATED
    parity: str = UNCHECKED

    @property
    def answers(self) -> str:
        """What the file's output is called: probabilities, or the values that a table has."""
        return "values" if self.asked("the file").form == "numbers" else "probabilities"

    @property
    def finds_boxes(self) -> bool:
        """Whether it answers pictures, resized by their sides, with boxes."""
        return self.asked("the file").form == "boxes"

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the file's outputs are called."""
        return tuple(self.told)

    @property
    def told(self) -> dict[str, str]:
        """Output -> what it is, of N pictures."""
        if self.finds_boxes:
            return {
                "boxes": "float32 (M, 4), x1 y1 x2 y2 in px of the pictures given, picture by picture",
                "labels": "int64 (M,), places in `names`",
                "scores": "float32 (M,), of each picture the likeliest first",
                "counts": "int64 (N,), how many of the M are each picture's",
            }
        return {self.answers: f"float32 (N, {len(self.names)})"}

    @property
    def any_size(self) -> bool:
        """Whether pictures of any height and width go in."""
        return self.input == "image" and self.preparation.get("fit") is not None

    @property
    def taken(self) -> str:
        """`uint8 (N, 3, H, W)`: the pictures that go in."""
        channels, height, width = self.shape
        if self.finds_boxes:
            return f"uint8 (N, {channels}, H, W), resized, of one size"
        return f"uint8 (N, {channels}, {'H, W' if self.any_size else f'{height}, {width}'})"

    def to_texts(self) -> dict[str, str]:
        """As a file's metadata, with what its `outputs` are; `from_texts` gives an equal record back."""
        found = self.model_dump(mode="json") | {"outputs": self.told}
        found["names"] = {str(number): name for number, name in enumerate(self.names)}
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}

    def prepared(self, where: str) -> Preparation:
        """What the run does to an image; InputError where that is none."""
        return build(Preparation, dict(self.preparation), f"{where} preparation")

    def asked(self, where: str) -> AnyTask:
        """The task; InputError where there is no such one."""
        return task_in(dict(self.task), f"{where} task")


def from_texts(texts: Mapping[str, str], where: str) -> Bundle:
    """What `to_texts` wrote.

    Raises:
        InputError: nothing of the kind, or a fact that is none.
    """
    if _MARK not in texts:
        raise InputError(f"{where}: does not say what it answers; wanted a file that deepres export wrote")
    plain = {"input", "precision", "network", "deepres_version", "license", "parity", "weights_sha256", "run"}
    known = {name: text for name, text in texts.items() if name in Bundle.model_fields}
    facts: dict[str, Any] = {
        name: text if name in plain and text != "null" else parse_json(text, f"{where} {name}")
        for name, text in known.items()
    }
    names = facts.get("names")
    if not isinstance(names, dict) or list(names) != [str(number) for number in range(len(names))]:
        raise InputError(f"{where}: names wanted an object from index to class, 0 first; is the file whole?")
    facts["names"] = list(names.values())
    found = build(Bundle, facts, where)
    if len(found.shape) != 3 or not found.names or len(set(found.names)) < len(found.names):
        raise InputError(f"{where}: wanted a shape (C, H, W) and different names; is the file whole?")
    return found
