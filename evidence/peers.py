"""What other tools' users type, row by row: understood, answered or not; and what an installation weighs.

`python evidence/peers.py` writes evidence/peers.json. It counts the rows of `recipes/spellings.py` (each is run by
tests/cli/test_spelled.py), timm's residual networks that are in the catalogue, and the packages that are extras now.
`python evidence/peers.py --install` also installs deepres into fresh environments, of now and as it was before these
became extras, from the package index; otherwise what was measured so before is kept.
"""

import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path

import timm

from deepres.arch.catalogue.tags import TAGS
from deepres.nn.environment import hardware, versions
from deepres.nn.hardware import find_device
from deepres.nn.weights.convert import TIMM
from deepres.recipes.spellings import SPELLINGS

EXTRAS_NOW = {
    "scikit-learn": ("scikit-learn", "joblib", "narwhals", "threadpoolctl"),
    "tensorboard": ("tensorboard", "grpcio", "protobuf", "werkzeug", "markdown", "absl-py", "tensorboard-data-server"),
    "huggingface_hub": ("huggingface_hub", "hf-xet"),
}
KINDS = (
    "resnet*",
    "resnext*",
    "seresn*",
    "ecaresn*",
    "res2ne*",
    "resnest*",
    "skresn*",
    "wide_resnet*",
    "resnetv2*",
    "resnetrs*",
    "densenet*",
)


ROOT = Path(__file__).parents[1]
BEFORE = "840b4ec"
"""The last commit whose dependencies were scikit-learn, tensorboard and huggingface_hub too."""


def torch_and_its_own() -> dict[str, Path]:
    """The folders of facts (`torch-….dist-info`) of torch here and of all that it depends on, by package."""
    by_name = {_normal(str(each.metadata["Name"])): each for each in distributions()}
    waiting, found = ["torch", *(name for name in by_name if name.startswith(("nvidia-", "cuda-")))], {}
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in found:
            found[name] = Path(str(by_name[name]._path))  # type: ignore[attr-defined]
            needs = [line for line in by_name[name].requires or () if "extra ==" not in line]
            waiting += [_normal(re.match(r"[\w.-]+", line)[0]) for line in needs]  # type: ignore[index]
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def environment(folder: Path) -> Path:
    """A fresh environment whose pip takes torch, as it is here, for installed; its interpreter."""
    venv.create(folder, with_pip=True)
    site = next(folder.glob("lib/python*/site-packages"))
    for place in torch_and_its_own().values():
        shutil.copytree(place, site / place.name)
    return folder / "bin" / "python"


def installation(wheel: Path, folder: Path) -> dict[str, object]:
    """What `pip install` of a wheel adds to torch: packages with their MB, and the seconds from the command on."""
    python = environment(folder)
    site = next(folder.glob("lib/python*/site-packages"))
    before = {path.name for path in site.iterdir()}
    command = (str(python), "-m", "pip", "install", "-qq", "--no-cache-dir", "-c", str(ROOT / "constraints.txt"))
    begin, used = time.perf_counter(), _used()
    subprocess.run([*command, str(wheel)], check=True)
    seconds, used = time.perf_counter() - begin, _used() - used
    new = [path for path in site.iterdir() if path.name not in before]
    listed = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    said = subprocess.run([python, "-c", listed], check=True, capture_output=True, text=True).stdout.split()
    names = {_normal(name) for name in said}
    sizes = {path.name: _bytes(path) / 1e6 for path in new}
    return {
        "packages": len(names - set(torch_and_its_own()) - {"pip", "setuptools"}),
        "mb": round(sum(sizes.values()), 1),
        "of_which_deepres_mb": round(sizes["deepres"], 1),
        "seconds": round(seconds, 1),
        "processor_seconds": round(used, 1),
    }


def _used() -> float:
    """Processor seconds of all commands that have ended."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files if each.is_file())


def installations() -> dict[str, object]:
    """The same for the commit before, and for what lies here."""
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, commit in (("before", BEFORE), ("now", "HEAD")):
            source, place = Path(folder) / f"{name}-source", Path(folder) / name
            source.mkdir()
            archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
            subprocess.run(["tar", "-x", "-C", source], input=archive, check=True)
            build = (sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "-w", str(place), str(source))
            subprocess.run(build, check=True)
            found[name] = installation(next(place.glob("*.whl")), Path(folder) / f"{name}-venv")
            print(name, found[name], file=sys.stderr)
    return found


def megabytes(name: str) -> float:
    """The files of an installed package, in MB."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return 0.0
    paths = [Path(str(found.locate_file(file))) for file in found.files or ()]
    return round(sum(path.stat().st_size for path in paths if path.is_file()) / 1e6, 1)


def rows() -> list[dict[str, str]]:
    """Each spelling of each verb, and what comes of it."""
    return [
        {"verb": verb, "theirs": name, "comes to": row.to or row.answer, "state": "answered" if row.answer else "works"}
        for verb, table in SPELLINGS.items()
        if verb != "data show"
        for row in table
        for name in row.names
    ]


def main() -> None:
    """Count, weigh, write."""
    spelled = rows()
    theirs = {name for kind in KINDS for name in timm.list_models(kind)}
    weights = {name: sum(map(megabytes, parts)) for name, parts in EXTRAS_NOW.items()}
    path = Path(__file__).parent / "peers.json"
    kept = json.loads(path.read_text()).get("installed_beside_torch") if path.is_file() else None
    facts = {
        "claim": "flags of timm, torchvision, ultralytics, transformers and Lightning work or are answered, row by row",
        "command": "python evidence/peers.py",
        "hardware": hardware(find_device("cpu")),
        "versions": {**versions(), "timm": timm.__version__},
        "n": len(spelled),
        "counts": {state: sum(row["state"] == state for row in spelled) for state in ("works", "answered")},
        "networks": {
            "timm_has": len(theirs),
            "in_the_catalogue": len(theirs & set(TIMM.values())),
            "with_published_weights": len(TAGS),
        },
        "no_longer_installed_mb": {name: round(mb, 1) for name, mb in weights.items()},
        "installed_beside_torch": installations() if "--install" in sys.argv[1:] else kept,
        "rows": spelled,
    }
    path.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
