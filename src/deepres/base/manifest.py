"""Which files belong to a run, by what they hold: `manifest.json` in its folder; others in their place are refused.

    run       the run's own name, drawn when it began; its states bear it too (train/checkpoint.py)
    files     name -> SHA-256
    coming    the same of files that are just being moved to their places, {} at all other times
    plan      what `run.json` holds, so that an edit by hand can be told

Files of one kind are replaced as a group (`writing`): written aside, announced, moved, bound. Killed at any moment,
each is the old one or the new one; a group that is half old and half new is refused too, until the run goes on. A
folder without a manifest, such as weights of others or a run of an older version, is taken as it is.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import Field, JsonValue

from deepres.base.errors import InputError
from deepres.base.files import digest, explained, flush, part_of, read_text, resolved, write_atomic
from deepres.base.records import Record, build, flat
from deepres.base.wording import some

MANIFEST = "manifest.json"
RUN = "run.json"
"""The plan of a run: where it lies, there is a run; of a group it is moved last."""
STATE = "state.json"
"""In the folder of a state, what belongs to it (train/checkpoint.py)."""
FOLDS = "folds.json"
"""Where it lies, there is a run in folds."""
STAGES = "stages.json"
"""Where it lies, there is a run in stages, begun or ended."""
SEAL = "seal"
MADE_AGAIN = (
    "config.json",
    "model.safetensors",
    "test.json",
    "predictions.npz",
    "worst.csv",
    "summary.json",
    "ensemble.json",
)
"""What the end of a run writes, of its states or folds, and images: resuming writes it anew if it is not as it was."""


class Manifest(Record):
    """What `manifest.json` holds."""

    run: str
    files: dict[str, str]
    coming: dict[str, str] = Field(default_factory=dict)
    plan: dict[str, JsonValue] = Field(default_factory=dict)

    def views(self) -> tuple[Mapping[str, str], ...]:
        """The digests before the group that is being moved, and after it."""
        return self.files, {**self.files, **self.coming}


def begin(folder: Path, names: Iterable[str], run: str | None = None) -> None:
    """Bind the files of those names that are there, and none besides, to a new run in `folder`, named `run`."""
    files = {name: digest(folder / name) for name in names if (folder / name).is_file()}
    _save(folder, Manifest(run=run or secrets.token_hex(16), files=files))


def manifest_of(folder: Path) -> Manifest | None:
    """What is bound in the folder; None where there is no manifest.

    Raises:
        InputError: it is damaged.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        facts, whole = read_sealed(path)
    except InputError as cause:
        if isinstance(cause.__cause__, OSError):
            raise
        whole = False
    if not whole:
        raise InputError(
            f"{path}: damaged, or changed by hand; bring it back, or remove it to take the folder's files as they are"
        )
    return build(Manifest, facts, str(path))


def holds_run(folder: Path) -> bool:
    """Whether there is a run in the folder, its description too or only what is bound to it."""
    if (folder / RUN).is_file():
        return True
    found = manifest_of(folder)
    return found is not None and RUN in found.files


def name_of(folder: Path) -> str:
    """The name of the run in the folder; empty where there is no manifest."""
    found = manifest_of(folder)
    return "" if found is None else found.run


def require_own(folder: Path, *names: str) -> None:
    """Refuse files that are not those that the folder's run wrote, or not of one time; all of them may be absent.

    Raises:
        InputError: one is missing, damaged, changed by hand or another run's; the line names it.
    """
    manifest = manifest_of(folder)
    while manifest is not None:
        found = {name: _held(folder, name, manifest) for name in names}
        if any(all(found[name] == view.get(name) for name in names) for view in manifest.views()):
            return
        again = manifest_of(folder)
        if again == manifest:
            raise _refusal(folder, manifest, found)
        manifest = again  # the run itself has just written


def is_whole(folder: Path) -> bool:
    """Whether all that is bound lies there as it was written; without a manifest, whether there is a folder.

    Raises:
        InputError: the manifest is damaged.
    """
    manifest = manifest_of(folder)
    try:
        require_own(folder, *(() if manifest is None else manifest.files))
    except InputError:
        return False
    return folder.is_dir()


def is_bound(folder: Path, name: str) -> bool:
    """Whether the manifest says what the file is to hold."""
    manifest = manifest_of(folder)
    return manifest is not None and any(name in view for view in manifest.views())


def release(folder: Path, name: str) -> None:
    """The file is going to grow: it is bound again when it is written in a group."""
    manifest = manifest_of(folder)
    if manifest is not None and is_bound(folder, name):
        files, coming = (
            {each: value for each, value in of.items() if each != name} for of in (manifest.files, manifest.coming)
        )
        _save(folder, manifest.replace(files=files, coming=coming))


def require_vouched(path: Path) -> None:
    """Refuse a file that is another than a manifest, or a state of a run, says of it, where it lies or leads to."""
    for place in dict.fromkeys((path, resolved(path))):
        manifest = manifest_of(place.parent)
        if manifest is not None and any(place.name in view for view in manifest.views()):
            require_own(place.parent, place.name)
        states = [place.with_name(STATE), *place.parent.glob(f"step-*/{STATE}")]
        for state in states if place.suffix == ".safetensors" else ():
            name = os.path.relpath(place, state.parent)
            wanted = read_sealed(state)[0].get("files", {}).get(name) if state.is_file() else None
            if wanted not in (None, digest(place)):
                raise InputError(
                    f"{place}: not what the run wrote, says {state}: damaged, or another's; bring it back, or copy it "
                    "elsewhere to take it as it is"
                )


@contextmanager
def writing(folder: Path, outdates: Mapping[str, tuple[str, ...]] | None = None) -> Iterator[Path]:
    """Yield an empty folder; on success its files take their places in `folder`, all of them bound at once.

    `outdates` are files that go where one of the group is not what it was: what was measured of other weights.
    """
    new = part_of(folder / "files")
    with explained(folder):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
    try:
        yield new
        with explained(folder):
            _move(new, folder, outdates or {})
    finally:
        shutil.rmtree(new, ignore_errors=True)


def sealed(facts: Mapping[str, JsonValue]) -> str:
    """The facts as JSON with a digest of them, by which damage is known."""
    return json.dumps({**facts, SEAL: _digest(facts)}, indent=1) + "\n"


def read_sealed(path: Path) -> tuple[dict[str, Any], bool]:
    """The facts that `sealed` wrote, and whether they are still those.

    Raises:
        InputError: the file cannot be read, or is no JSON.
    """
    try:
        facts = dict(json.loads(read_text(path, "record of a run")))
        return facts, facts.pop(SEAL, None) == _digest(facts)
    except (ValueError, TypeError, RecursionError) as cause:
        if isinstance(cause, InputError):
            raise
        raise InputError(f"{path}: not JSON ({str(cause)[:80]}); is the file whole?") from cause


def _move(new: Path, folder: Path, outdates: Mapping[str, tuple[str, ...]]) -> None:
    names = sorted((path.name for path in new.iterdir()), key=lambda name: (name == RUN, name))
    before = manifest_of(folder)
    if before is not None:
        coming = {name: digest(new / name) for name in names}
        settled = _settled(folder, before)
        gone = {late for name, outdated in outdates.items() if coming[name] != settled.get(name) for late in outdated}
        files = {name: value for name, value in settled.items() if name not in gone}
        plan = json.loads((new / RUN).read_text(encoding="utf-8")) if RUN in names else before.plan
        announced = Manifest(run=before.run, files=files, coming=coming, plan=plan)
        _save(folder, announced)
        for name in gone:
            (folder / name).unlink(missing_ok=True)
    for name in names:
        (new / name).replace(folder / name)
    flush(folder)
    if before is not None:
        _save(folder, announced.replace(files={**files, **coming}, coming={}))


def _settled(folder: Path, manifest: Manifest) -> dict[str, str]:
    """What is bound once a group that a crash has cut off is taken as whole, as not begun, or as not there."""
    found = {name: digest(folder / name) if (folder / name).is_file() else None for name in manifest.coming}
    for view in manifest.views():
        if all(found[name] == view.get(name) for name in found):
            return dict(view)
    return {name: value for name, value in manifest.files.items() if name not in found}


def _held(folder: Path, name: str, manifest: Manifest) -> str | None:
    """What the file holds, None where there is none; a `run.json` of the same values is the same."""
    path = folder / name
    if not path.exists():
        return None
    if name == RUN and manifest.plan and _plan(path) == dict(flat(manifest.plan)):
        return manifest.views()[-1].get(RUN)
    return digest(path)


def _plan(path: Path) -> dict[str, JsonValue] | None:
    """The values of a `run.json` by dotted name; None where it is none."""
    try:
        return dict(flat(dict(json.loads(read_text(path, "run description")))))
    except (ValueError, TypeError, RecursionError):
        return None


def _changes(was: Mapping[str, JsonValue], now: Mapping[str, JsonValue]) -> list[str]:
    """`seed from 0 to 1`, of every value that two plans have apart."""
    names = [name for name in {**was, **now} if (name in was, was.get(name)) != (name in now, now.get(name))]
    return [f"{name} from {_shown(was, name)} to {_shown(now, name)}" for name in names]


def _shown(facts: Mapping[str, JsonValue], name: str) -> str:
    return json.dumps(facts[name])[:60] if name in facts else "nothing"


def _refusal(folder: Path, manifest: Manifest, found: Mapping[str, str | None]) -> InputError:
    views = manifest.views()
    wrong = [name for name in found if all(found[name] != view.get(name) for view in views)]
    if not wrong:
        return InputError(
            f"{folder}: {' and '.join(found)} are of two times, the run was cut off as it wrote them; deepres train "
            f"--resume {folder} makes them whole"
        )
    path, name = folder / wrong[0], wrong[0]
    if all(name not in view for view in views):
        return InputError(
            f"{path}: not of this run, whose {MANIFEST} does not know it: another's, or left when the run was cut off; "
            f"deepres train --resume {folder} writes its own"
        )
    given = _plan(path) if name == RUN and found[name] is not None else None
    if given is not None and (changes := _changes(dict(flat(manifest.plan)), given)):
        return InputError(
            f"{path}: not as this run wrote it: {some(changes, 3)}; changed by hand, or another run's: put it back, "
            f"and change what may change with deepres train --resume {folder} --set NAME=VALUE"
        )
    what = "missing" if found[name] is None else "not what this run wrote: damaged, changed by hand, or another run's"
    has_states = (folder / RUN).is_file() and any(folder.glob(f"state/step-*/{STATE}"))
    anew = name in MADE_AGAIN and (has_states or FOLDS in manifest.files)
    return InputError(
        f"{path}: {what}; {f'deepres train --resume {folder} writes it anew; or ' if anew else ''}bring it back, or "
        f"remove {MANIFEST} to take the files of the folder as they are"
    )


def _save(folder: Path, manifest: Manifest) -> None:
    write_atomic(folder / MANIFEST, sealed(manifest.model_dump(mode="json")))


def _digest(facts: Mapping[str, JsonValue]) -> str:
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
