"""Drills: runs killed, disks filled, files damaged, readers fuzzed, pictures spoilt, hours passed; what came of each.

`python tests/faults/drill.py [--groups kills,disks] [--scale 0.2] [--seed 0] [--output evidence/drills.json]`. A trial
is right where the answer is bitwise that of an undisturbed run, or one line refuses; all else is wrong, and told.
Commands are forked off a process that has loaded their libraries, but for torchrun's and those with a limit of size.
Who adds a reader adds it to `fuzz.readers`, a verb that writes to `writers.writers`; who adds a file to a run's folder need
do nothing: each file there is damaged.
"""

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from deepres.base.files import digest
from deepres.cli.main import run as deepres
from deepres.nn.environment import hardware, versions
from deepres.nn.weights.files import WEIGHTS
from processes import DEEPRES, Popen

SECONDS = 300
"""Of a command: after so long it hangs."""

UNFORESEEN = 70  # the exit code of the last net
TRAIN = ["--device", "cpu", "--compile", "off", "--model", "resnet20_cifar", "--batch-size", "8", "--epochs", "3"]
TRAIN += ["--set", "preparation.crop=8", "--set", "train.save_every_seconds=0.01"]
QUESTIONS = ("resume", "predict", "eval")


class Drill:
    """The figures of one group: what was tried, what of it came out right, and what was wrong."""

    def __init__(self, scale: float, seed: int, place: Path) -> None:
        self.scale, self.place, self.draw = scale, place, random.Random(seed)
        self.seed, self.tried, self.wrong = seed, 0, list[str]()
        self.facts = dict[str, Any]()

    def times(self, count: int) -> range:
        """So many trials at scale 1."""
        return range(max(1, round(count * self.scale)))

    def note(self, trial: str, wrong: str | None) -> None:
        self.tried += 1
        if wrong is not None:
            self.wrong.append(f"{trial}: {wrong}")
            print(f"WRONG {trial}: {wrong}", file=sys.stderr, flush=True)

    def figures(self, seconds: float) -> dict[str, Any]:
        right = self.tried - len(self.wrong)
        return {
            "tried": self.tried,
            "right": right,
            "wrong": len(self.wrong),
            "told": self.wrong[:20],
            "seconds": round(seconds, 1),
            **self.facts,
        }


def pictures(folder: Path) -> Path:
    """Two classes of twelve pictures."""
    for number in range(24):
        path = folder / ("cat", "dog")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((12, 12), 40 + 4 * number).convert("RGB").save(path)
    return folder


def undisturbed(drill: Drill, of: str = "classes") -> tuple[Path, Path]:
    """Pictures, and a run on them that nothing happened to; made once. `of` what they are: classes, or boxes."""
    source, whole = drill.place / "pictures", drill.place / "whole"
    if of == "boxes":
        source, whole = boxed(drill.place / "boxed"), drill.place / "whole-of-boxes"
    if not whole.exists():
        given = pictures(source) if of == "classes" else source
        ended = _command(["train", str(given), *words_of(of), "--output", str(whole)])
        assert ended.returncode == 0, ended.stderr
    return source, whole


def boxed(folder: Path) -> Path:
    """Sixteen pictures with a box each, as a table."""
    table = folder / "boxes.csv"
    if not table.exists():
        folder.mkdir()
        rows = ["path,class,x1,y1,x2,y2,split"]
        for number in range(16):
            Image.effect_noise((64, 48), 40 + 4 * number).convert("RGB").save(folder / f"{number:02}.png")
            split = "train" if number < 8 else "val" if number < 12 else "test"
            rows.append(f"{number:02}.png,{'ab'[number % 2]},{number},4,{number + 20},40,{split}")
        table.write_text("\n".join(rows) + "\n")
    return table


def words_of(of: str) -> list[str]:
    """How a run of these is trained."""
    from runs_of_tasks import BOXES

    if of == "classes":
        return TRAIN
    edits = [*(f"{name}={value}" for name, value in BOXES.items()), "train.save_every_seconds=0.01"]
    return [*TRAIN[:4], "-b", "2", "--epochs", "3", *(word for edit in edits for word in ("--set", edit))]


def _started(words: list[str], **options: Any) -> "subprocess.Popen[str]":
    return Popen(
        [*DEEPRES, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        **options,
    )


def _command(words: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    process = _started(words, **options)
    try:
        _, said = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return subprocess.CompletedProcess(words, 124, "", "hangs")
    return subprocess.CompletedProcess(words, process.returncode, "", said)


def _ill(code: int, said: str) -> str | None:
    """What is wrong with how a command ended, whether it did what it was asked or refused."""
    if code == 124:
        return "hangs"
    if code == UNFORESEEN or "Traceback" in said or (code == 1 and "deepres: " not in said):
        return f"exit code {code}, a traceback: {said[-300:]!r}"
    return f"killed by signal {-code}" if code < 0 else None


def _completed(folder: Path, source: Path, whole: Path, words: list[str]) -> str | None:
    """Resume, or begin anew where nothing had begun; what is wrong with what comes of it."""
    new = ["train", str(source), *words, "--output", str(folder)]
    ended = _command(["train", "--resume", str(folder)] if _begun(folder) else new)
    if ended.returncode != 0:
        return f"does not go on, exit code {ended.returncode}: {ended.stderr[-300:]!r}"
    left = [path.name for path in folder.rglob("*.part")] + [path.name for path in folder.rglob(".*.part")]
    if left:
        return f"debris stays: {left[0]}"
    return None if digest(folder / WEIGHTS) == digest(whole / WEIGHTS) else "other weights"


def kills(drill: Drill) -> None:
    """SIGKILL, or sometimes another signal, at random moments of a run, once or several times."""
    for trial in drill.times(8):
        of = "boxes" if trial % 4 == 3 else "classes"
        source, whole = undisturbed(drill, of)
        folder, workers = drill.place / f"kill-{trial}", str(drill.draw.choice((0, 2)))
        words = [*words_of(of), "--workers", workers]
        for _ in range(drill.draw.choice((1, 1, 2, 3))):
            again = ["train", "--resume", str(folder)]
            process = _started(again if _begun(folder) else ["train", str(source), *words, "--output", str(folder)])
            _wait_for(folder, process, drill.draw.random())
            number = drill.draw.choice((signal.SIGKILL,) * 3 + (signal.SIGTERM, signal.SIGINT))
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
            _, said = process.communicate(timeout=SECONDS)
            if number != signal.SIGKILL and (ill := _ill(process.returncode, said)) and process.returncode > 0:
                drill.note(f"{signal.Signals(number).name} {trial}", ill)
        drill.note(f"kill {trial}, {of}", _completed(folder, source, whole, words))
        shutil.rmtree(folder)


def _wait_for(folder: Path, process: "subprocess.Popen[str]", share: float) -> None:
    """Until a random moment: most of them while it saves states, some before it has begun."""
    if share < 0.2:
        sleep(10 * share)
        return
    known, until = set(folder.glob("state/step-*")), monotonic() + SECONDS
    while process.poll() is None and monotonic() < until and not set(folder.glob("state/step-*")) - known:
        sleep(0.002)
    sleep(share)


def pairs(drill: Drill) -> None:
    """Runs of two processes: either or both killed at random moments and resumed; or with what is another run's."""
    from pairs import FOREIGN, alike, both_ended, both_started, put_foreign, refused_together

    source, _ = undisturbed(drill)
    whole, other = drill.place / "pair-0", drill.place / "pair-1"
    for seed, folder in enumerate((whole, other)):
        ends = both_ended(
            both_started(["train", str(source), *TRAIN, "--seed", str(seed), "--output", str(folder)]), SECONDS
        )
        assert all(each.code == 0 for each in ends), ends
    killed = 0
    for trial in drill.times(3):
        folder = drill.place / f"pair-killed-{trial}"
        words = ["train", str(source), *TRAIN, "--seed", "0", "--output", str(folder)]
        for _ in range(drill.draw.choice((1, 2))):
            both = both_started(["train", "--resume", str(folder)] if _begun(folder) else words)
            _wait_for(folder, both[0], drill.draw.random())
            for victim in drill.draw.choice((both[:1], both[1:], both)):
                killed += victim.poll() is None
                victim.kill()
            for rank, each in enumerate(both_ended(both, SECONDS)):
                if each.code != -signal.SIGKILL and (ill := _ill(each.code, each.said or "deepres: the other speaks")):
                    drill.note(f"pair {trial}, process {rank}", ill)
        ends = both_ended(both_started(["train", "--resume", str(folder)] if _begun(folder) else words), SECONDS)
        went_on = all(each.code == 0 for each in ends)
        drill.note(f"pair {trial}", alike(folder, whole) if went_on else f"does not go on: {ends[0]}")
        shutil.rmtree(folder)
    for what in FOREIGN if drill.scale >= 1 else [drill.draw.choice(FOREIGN)]:
        folder = drill.place / "pair-foreign"
        shutil.copytree(whole, folder)
        put_foreign(folder, other, what)
        ends = both_ended(both_started(["train", "--resume", str(folder)]), SECONDS)
        mended = all(each.code == 0 for each in ends)
        drill.note(f"pair, foreign {what}", alike(folder, whole) if mended else refused_together(ends))
        shutil.rmtree(folder)
    drill.facts["killed"] = killed


def torchrun(drill: Drill) -> None:
    """The same by torchrun itself: a process killed or the launcher asked to stop; resumed by two, by one; damaged."""
    from pairs import alike, both_ended, by_torchrun, is_whole, ranks, refused_once

    def ended(words: list[str], processes: int = 2) -> Any:
        return both_ended([by_torchrun(words, processes)], SECONDS)[0]

    source, _ = undisturbed(drill)
    whole = drill.place / "torchrun"
    words = ["train", str(source), *TRAIN, "--output"]
    first = ended([*words, str(whole)])
    drill.note("torchrun, undisturbed", None if first.code == 0 else f"exit code {first.code}: {first.said[-600:]!r}")
    for trial in drill.times(2):
        folder, rank = drill.place / f"torchrun-{trial}", drill.draw.choice((0, 1, 2))
        launched = by_torchrun([*words, str(folder)])
        _wait_for(folder, launched, 0.2 + 0.8 * drill.draw.random())
        with contextlib.suppress(ProcessLookupError, IndexError):
            launched.terminate() if rank == 2 else os.kill(ranks(launched)[rank], signal.SIGKILL)
        both_ended([launched], SECONDS)
        alone = drill.place / f"torchrun-{trial}-alone"
        if _begun(folder):
            shutil.copytree(folder, alone)
        again = ended(["train", "--resume", str(folder)] if _begun(folder) else [*words, str(folder)])
        wrong = None if again.code == 0 else f"does not go on, exit code {again.code}: {again.said[-600:]!r}"
        drill.note(f"torchrun {trial}, process {rank} ends", wrong or alike(folder, whole))
        if alone.exists():
            again = ended(["train", "--resume", str(alone)], 1)
            wrong = None if again.code == 0 and is_whole(alone) else f"exit code {again.code}: {again.said[-600:]!r}"
            drill.note(f"torchrun {trial}, resumed by one", wrong)
    for name in ("state/step-*/weights.safetensors", "statistics.safetensors"):
        folder = drill.place / "torchrun-damaged"
        shutil.copytree(whole, folder)
        for path in folder.glob(name):
            _changed(path, drill.draw)
        drill.note(f"torchrun, damaged {name}", refused_once(ended(["train", "--resume", str(folder)])))
        shutil.rmtree(folder)


def _begun(folder: Path) -> bool:
    """Whether there is a run to resume; what was left of one that had not begun is removed."""
    begun = (folder / "run.json").exists()
    if not begun and folder.exists():
        shutil.rmtree(folder)
    return begun


def workers(drill: Drill) -> None:
    """Loader processes killed at random moments; the run goes on by itself."""
    source, whole = undisturbed(drill)
    killed = 0
    for trial in drill.times(6):
        folder = drill.place / f"workers-{trial}"
        process = _started(["train", str(source), *TRAIN, "--workers", "2", "--output", str(folder)])
        while process.poll() is None:
            sleep(0.1 + 0.7 * drill.draw.random())
            with contextlib.suppress(OSError, IndexError):
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                os.kill(int(drill.draw.choice(children)), signal.SIGKILL)
                killed += 1
        _, said = process.communicate()
        wrong = _ill(process.returncode, said)
        if wrong is None and process.returncode != 0:  # again and again: refused, and taken up
            wrong = None if "--resume" in said else said[-300:]
        drill.note(f"workers {trial}", wrong or _completed(folder, source, whole, TRAIN))
        shutil.rmtree(folder)
    drill.facts["killed"] = killed


def disks(drill: Drill) -> None:
    """A file may not grow beyond a random size (RLIMIT_FSIZE), or the disk is a small one of memory, where allowed."""
    source, whole = undisturbed(drill)
    largest = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    mounted = 0
    for trial in drill.times(8):
        place, size = drill.place / f"disk-{trial}", int(drill.draw.random() ** 2 * 1.5 * largest) + 4096
        place.mkdir()
        small = drill.draw.random() < 0.7 and _mounted(place, size)
        mounted += small
        limit = None if small else (lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
        how = {} if limit is None else {"preexec_fn": limit}
        ended = _command(["train", str(source), *TRAIN, "--output", str(place / "run")], **how)
        wrong = _ill(ended.returncode, ended.stderr)
        if small:
            subprocess.run(["mount", "-o", "remount,size=1g", str(place)], check=True)
        drill.note(f"disk {size}", wrong or _completed(place / "run", source, whole, TRAIN))
        if small:
            subprocess.run(["umount", str(place)], check=True)
    drill.facts["mounted"] = mounted


def _mounted(place: Path, size: int) -> bool:
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    return shutil.which("mount") is not None and subprocess.run(words, capture_output=True, check=False).returncode == 0


def _asked(words: list[str]) -> tuple[int, str, str]:
    """In this process: exit code, what it says, and what is wrong with how it ended."""
    out, errors = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = deepres(words)
    except Exception:
        return 1, "", f"traceback: {traceback.format_exc()[-400:]}"
    return code, out.getvalue(), _ill(code, errors.getvalue()) or ""


def damage(drill: Drill) -> None:
    """Every file of a run's folder in turn: changed, cut short, emptied, removed, a pipe or a folder in its place.

    Then the run is resumed, asked and measured; where the file is gone or another kind of thing, one of these. Of a
    detector's run one of these happens to each file, and one question is asked.
    """
    for of in ("classes", "boxes"):
        _damaged(drill, of, all_ways=drill.scale >= 1 and of == "classes")


def _damaged(drill: Drill, of: str, *, all_ways: bool) -> None:
    from fuzz import bounded

    source, whole = undisturbed(drill, of)
    picture = source / "cat" / "00.png" if of == "classes" else source.with_name("00.png")
    asked: dict[str, Callable[[Path], list[str]]] = {
        "resume": lambda folder: ["train", "--resume", str(folder)],
        "predict": lambda folder: ["predict", str(folder), str(picture), "--json"],
        "eval": lambda folder: ["eval", str(folder), "--json"],
    }
    right = {question: _answer(question, whole, _asked(asked[question](whole))[1]) for question in QUESTIONS}
    files = [path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file()]
    files = [name for name in files if name.name not in (".lock", "log.txt") and "events" not in name.parts]
    ways = [_changed, _cut, _emptied, _removed, _piped, _foldered]
    for name in files:
        for way in ways if all_ways else [drill.draw.choice(ways)]:
            every = of == "classes" and way in (_changed, _cut)
            for question in QUESTIONS if every else [drill.draw.choice(QUESTIONS)]:
                folder = drill.place / "damaged"
                shutil.copytree(whole, folder)
                way(folder / name, drill.draw)
                with bounded(folder / name) as late:
                    code, said, wrong = _asked(asked[question](folder))
                wrong = "hangs" if late else wrong
                answer = _answer(question, folder, said) if code == 0 and not wrong else right[question]
                told = wrong or (None if answer == right[question] else "another answer, and nothing is said")
                drill.note(f"{of}: {way.__name__[1:]} {name}, {question}", told)
                shutil.rmtree(folder)


def _answer(question: str, folder: Path, said: str) -> str:
    if question == "resume":
        return digest(folder / WEIGHTS) if (folder / WEIGHTS).is_file() else "none"
    if question == "eval":
        facts = json.loads(said[said.index("{") :])
        return str([facts.get(figure) for figure in ("error", "ap", "figures")])
    return said.replace(str(folder), "RUN")


def _changed(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(min(10, len(content))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def _cut(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content) or 1)])


def _emptied(path: Path, draw: random.Random) -> None:
    path.write_bytes(b"")


def _removed(path: Path, draw: random.Random) -> None:
    path.unlink()


def _piped(path: Path, draw: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _foldered(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.mkdir()


def readers(drill: Drill) -> None:
    """Every reader of what comes from outside, over damaged files."""
    from fuzz import fuzzed, replaced
    from fuzz import readers as known

    for reader in known():
        folder = drill.place / "fuzzed"
        folder.mkdir()
        count = len(drill.times(100))
        read, refused, faults = fuzzed(reader, folder, count, drill.seed)
        drill.tried += read + refused
        for fault in faults:
            drill.note(f"{reader.name}, seed {fault.seed}", fault.told[-300:])
        shutil.rmtree(folder)
        folder.mkdir()
        for way, told in replaced(reader, folder):
            drill.note(f"{reader.name}, {way}", None if told in ("read", "refused") else told[-300:])
        shutil.rmtree(folder)


def writers(drill: Drill) -> None:
    """Every verb that writes, where files may not grow beyond a random size: each is the old one or a whole new one."""
    from writers import home_in
    from writers import writers as known

    whole = home_in(drill.place / "home")
    for writer in known():
        if writer.long:  # of these: kills, disks
            continue
        home = drill.place / "limited"
        shutil.copytree(whole, home)
        words = writer.words(home)
        wrong = _asked(words)[2]
        drill.note(f"{writer.name}, undisturbed", wrong or None)
        files = [file for name in writer.outputs for file in _files(home / name)]
        largest = max(file.stat().st_size for file in files)
        for _ in drill.times(6):
            _drop_some(home, writer.outputs, drill.draw)
            before = {file: digest(file) for file in files if file.is_file()}
            size = drill.draw.randrange(largest)
            wrong = _limited(size, words)
            torn = [file for file in files if file.is_file() and file.stat().st_size == size]
            torn = [file for file in torn if before.get(file) != digest(file)]
            left = [part for part in home.rglob("*.part") if part.name.startswith(".")]
            told = f"torn: {torn[0].name}" if torn else f"debris: {left[0].name}" if left else None
            drill.note(f"{writer.name}, {size} bytes", wrong or told)
        shutil.rmtree(home)


def _files(path: Path) -> list[Path]:
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def _drop_some(home: Path, names: tuple[str, ...], draw: random.Random) -> None:
    """A folder that stands there is refused; a file may be replaced."""
    for name in names:
        if (home / name).is_dir():
            shutil.rmtree(home / name)
        elif draw.random() < 0.3:
            (home / name).unlink(missing_ok=True)


def _limited(size: int, words: list[str]) -> str:
    """What is wrong with how a command ends while no file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        return _asked(words)[2]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def hostile(drill: Drill) -> None:
    """Pictures with a fault or several, in every format that Pillow writes here: named in one line, or answered."""
    _, whole = undisturbed(drill)
    path = drill.place / "hostile"
    for trial in drill.times(200):
        kind = drill.draw.choice(("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"))
        side = drill.draw.choice((1, 7, 40))
        content = io.BytesIO()
        Image.effect_noise((side, side), 90).convert("RGB").save(content, kind)
        spoilt = bytearray(content.getvalue())
        for _ in range(drill.draw.choice((1, 3, 30))):
            spoilt[drill.draw.randrange(min(len(spoilt), drill.draw.choice((16, 64, 10_000))))] = drill.draw.randrange(
                256
            )
        file = path.with_suffix(f".{kind.lower()}")
        file.write_bytes(spoilt[: drill.draw.choice((len(spoilt), drill.draw.randrange(len(spoilt))))])
        drill.note(f"picture {trial} ({kind})", _asked(["predict", str(whole), str(file)])[2] or None)


def soak(drill: Drill) -> None:
    """Predictions of changing pictures, resumes and evaluations in one process: memory and descriptors stay flat."""
    _soaked(drill, {"predict": 300, "resume": 40, "eval": 150})


def _soaked(drill: Drill, much: dict[str, float]) -> None:
    """Each kind so often, at scale 1, or for so many seconds where it is a float."""
    from soak import Kind, soaked

    _, whole = undisturbed(drill)
    pictures, folder = drill.place / "changing", drill.place / "resumed"
    pictures.mkdir(exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    words: dict[str, Callable[[int], list[str]]] = {
        "predict": lambda number: ["predict", str(whole), _changing(pictures, number)],
        "resume": lambda number: ["train", "--resume", str(folder), "--epochs", str(4 + number)],
        "eval": lambda _: ["eval", str(whole)],
    }
    for name, count in much.items():
        held = soaked(Kind(name, words[name], count), drill.scale, lambda words: _asked(words)[2], drill.note)
        drill.facts[name] = held.facts
        drill.note(name, held.wrong)


def _changing(folder: Path, number: int) -> str:
    """A picture of another size, format and content each time, now and then a folder of three."""
    sides, suffixes = (8, 31, 64, 200, 333, 1024), ("png", "jpg", "bmp", "tiff", "webp")
    names = [folder / f"{place}.{suffixes[(number + place) % 5]}" for place in range(3 if number % 10 == 0 else 1)]
    for old in folder.iterdir():
        old.unlink()
    for place, name in enumerate(names):
        side = sides[(number + place) % 6]
        Image.effect_noise((side, side + number % 7), 90).convert("RGB").save(name)
    return str(folder if len(names) > 1 else names[0])


def arguments(drill: Drill) -> None:
    """Each argument of each verb given what it does not mean; at a lower scale some of them."""
    from arguments import prepared, tried, unread
    from arguments import trials as known
    from writers import home_in

    home, before = prepared(home_in(drill.place / "arguments")), Path.cwd()
    os.chdir(home)
    try:
        for trial in known(home):
            if drill.scale >= 1 or drill.draw.random() < drill.scale:
                drill.note(trial.name, tried(trial, home))
        for name, wrong in unread(home):
            drill.note(name, wrong)
    finally:
        os.chdir(before)


def servers(drill: Drill) -> None:
    """A server's clients killed, its disk full, its run deleted, its network failing."""
    from servers import TRIALS, tried

    for number in drill.times(2):
        for name in TRIALS:
            drill.note(f"server, {name} {number}", tried(name, drill.draw))


def server_memory(drill: Drill) -> None:
    """Requests of mixed sizes, and reloads: what a server holds in the end, and after a tenth of them."""
    from serving import MOST_GROWTH, measured

    facts = measured(len(drill.times(10_000)), len(drill.times(20)))
    for name in ("growth", "growth_by_reloads"):
        drill.note(f"server, {name}", None if facts[name] < MOST_GROWTH else f"x {facts[name]}")
    drill.note("server, its end", None if facts["exit_code"] == 0 else f"exit code {facts['exit_code']}")
    drill.facts["memory"] = facts


GROUPS: dict[str, Callable[[Drill], None]] = {
    "kills": kills,
    "pairs": pairs,
    "torchrun": torchrun,
    "damage": damage,
    "workers": workers,
    "disks": disks,
    "readers": readers,
    "writers": writers,
    "pictures": hostile,
    "arguments": arguments,
    "soak": soak,
    "servers": servers,
}
"""The long ones first: groups go on side by side."""
LONG: dict[str, Callable[[Drill], None]] = {
    "soak_predict": lambda drill: _soaked(drill, {"predict": 7200.0}),
    "soak_resume": lambda drill: _soaked(drill, {"resume": 200}),
    "soak_eval": lambda drill: _soaked(drill, {"eval": 10_000}),
    "server_memory": server_memory,
}
"""What takes hours: carried out where it is asked for by name."""


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="deepres-drill-") as place:
        yield Path(place)


def _carried_out(name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """One group in this process: its figures, with what made them."""
    with _place() as place:
        drill, began = Drill(chosen.scale, chosen.seed, place), monotonic()
        {**GROUPS, **LONG}[name](drill)
        return drill.figures(monotonic() - began)


def _beside(name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """One group in a process of its own; a group that falls over is wrong as a whole."""
    words = [sys.executable, __file__, "--groups", name, "--scale", str(chosen.scale), "--seed", str(chosen.seed)]
    with tempfile.TemporaryDirectory(prefix="deepres-drill-") as place:
        output = Path(place) / "figures.json"
        threads = str(max(1, len(os.sched_getaffinity(0)) // chosen.jobs))  # groups at once do not wait for each other
        alone = {"OMP_NUM_THREADS": threads, **os.environ}
        began = monotonic()
        process = subprocess.run([*words, "--output", str(output)], stdout=subprocess.DEVNULL, env=alone)
        found = json.loads(output.read_text()) if output.is_file() else {}
    figures: dict[str, Any] = found.get("groups", {}).get(name) or found.get("long", {}).get(name)
    if figures is None:
        told = [f"{name}: fell over with exit code {process.returncode}"]
        figures = {"tried": 1, "right": 0, "wrong": 1, "told": told, "seconds": monotonic() - began}
    return figures


def _ended(chosen: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each group and its figures as it ends: one alone in this process, several in processes side by side."""
    names = chosen.groups.split(",")
    if len(names) == 1:
        yield names[0], _carried_out(names[0], chosen)
        return
    with ThreadPoolExecutor(chosen.jobs) as pool:
        work = {pool.submit(_beside, name, chosen): name for name in names}
        for done in as_completed(work):
            yield work[done], done.result()


def main() -> int:
    """Carries out the groups that are asked for; 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", default=",".join(GROUPS), help="which, with commas between")
    parser.add_argument("--scale", type=float, default=1.0, help="how many trials, of the usual number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="groups at once, each in a process of its own")
    parser.add_argument("--output", type=Path, help="JSON; groups that stand there and are not asked for stay")
    chosen = parser.parse_args()
    facts = json.loads(chosen.output.read_text()) if chosen.output and chosen.output.is_file() else {}
    known, long = facts.get("groups", {}), facts.get("long", {})
    began = monotonic()
    made = {
        "command": f"python tests/faults/drill.py --groups {chosen.groups} --scale {chosen.scale:g} "
        f"--seed {chosen.seed} --jobs {chosen.jobs}",
        "versions": versions(),
        "hardware": hardware(torch.device("cpu")),
    }
    for name, figures in _ended(chosen):
        print(f"{name}: {json.dumps({k: v for k, v in figures.items() if k != 'told'})}", flush=True)
        if name in LONG:
            long[name] = {**figures, **made}
        else:
            known[name] = figures
            facts |= {**made, "seeds": [chosen.seed], "seconds": round(monotonic() - began, 1)}
        facts["claim"] = "faults and hostile input: refused in one line, or bitwise the undisturbed run"
        facts["n"] = sum(each["tried"] for each in known.values())
        facts |= {"groups": known} | ({"long": long} if long else {})
        if chosen.output:
            chosen.output.write_text(json.dumps(facts, indent=1) + "\n")
    return int(any(figures["wrong"] for figures in (*known.values(), *long.values())))


if __name__ == "__main__":
    sys.exit(main())
