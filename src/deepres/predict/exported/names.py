"""Which arguments are files that `deepres export` wrote, by their names; what nobody says of them. No torch."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from deepres.base.errors import InputError

ENDINGS = (".onnx", ".pt2")
GRAPH, VALUES = "model.xml", "model.bin"
"""What a folder for OpenVINO holds."""


def is_exported(word: str | Path) -> bool:
    """Whether an argument is called as what `deepres export` writes; nothing is loaded for it."""
    return str(word).endswith(ENDINGS) or openvino_files(word) is not None


def openvino_files(word: str | Path) -> tuple[Path, Path] | None:
    """OpenVINO's NAME.xml and NAME.bin, by either of them or by the folder that holds model.xml; None: no such."""
    path = Path(word)
    with suppress(OSError, ValueError):  # longer than a name can be
        if path.suffix == ".xml" or (path.suffix == ".bin" and path.with_suffix(".xml").is_file()):
            return path.with_suffix(".xml"), path.with_suffix(".bin")
        if (path / GRAPH).is_file():
            return path / GRAPH, path / VALUES
    return None


def require_network(word: str | Path) -> None:
    """Refuse an exported file where the network itself is asked for.

    Raises:
        InputError: it is one.
    """
    if is_exported(word):
        raise InputError(f"{word}: an exported file, which eval, predict and compare take; here name the run it is of")


def require_alone(file: str, given: Mapping[str, object]) -> None:
    """Refuse what says of a network what a file has settled; `given` by what it is called, None or False: not given.

    Raises:
        InputError: one is given.
    """
    for name, value in given.items():
        if value is not None and value is not False:
            raise InputError(
                f"{name} with {file}: an exported file answers as it was written; leave it out, or name its run"
            )


def require_cpu(file: str, device: object, name: str = "device") -> None:
    """Refuse another device than the CPU, None: none said.

    Raises:
        InputError: it is asked for.
    """
    if device is not None and str(device) != "cpu":
        raise InputError(
            f"{name} {device} with {file}: an exported file answers on the CPU; leave it out, or name its run"
        )
