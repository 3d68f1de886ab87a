"""Several processes as one: what they agree on, what they exchange, and that a run does not depend on their number."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import pytest
import torch

from deepres.base.errors import InputError, RunError
from deepres.base.files import digest
from deepres.data.images import ArrayImages, Batch, FileImages
from deepres.data.loading.config import LoaderConfig, TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader, evaluation_batches
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.data.transforms.statistics import measure_statistics
from deepres.nn.weights.files import WEIGHTS
from deepres.train import distributed
from deepres.train.config import TrainConfig
from deepres.train.distributed import SINGLE_PROCESS, Distributed, _place, init_distributed
from processes import DEEPRES, ended_together, run, together

PROGRAM = Path(__file__).with_name("together.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "here", "MASTER_PORT": "29500"}


def test_without_torchrun_there_is_one_process_and_nothing_to_exchange() -> None:
    assert not torch.distributed.is_initialized()
    with init_distributed("cpu") as processes:
        assert (processes.rank, processes.size, processes.device) == (0, 1, torch.device("cpu"))
        assert (
            processes.on_rank_zero(lambda: 3)
            == processes.on_all_ranks(lambda: 3)
            == processes.local_rank_zero_first(lambda: 3)
            == 3
        )
        assert processes.all_gather(lambda: 3) == [3]
        assert processes.highest(4, 5) == (4, 5)
        assert processes.share(9, 2) == 9
        assert not torch.distributed.is_initialized()


def test_torchruns_environment_says_who_a_process_is() -> None:
    more = {"LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RESTART_COUNT": "3"}
    assert _place({**ENVIRONMENT, **more}) == Distributed(rank=1, size=2, local_rank=1, local_size=2, restarts=3)
    assert _place({"LOCAL_RANK": "1"}) == SINGLE_PROCESS


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"MASTER_PORT": None},
            "environment: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR set, MASTER_PORT not; start with",
        ),
        ({"WORLD_SIZE": None}, "WORLD_SIZE not; start with torchrun, which sets all, or unset them"),
        ({"RANK": "one"}, "environment: RANK 'one', wanted a number"),
        ({"RANK": "2"}, "environment: RANK 2 of WORLD_SIZE 2, wanted less"),
    ],
)
def test_a_wrong_environment_is_refused_by_all_in_the_words_of_one(
    changed: Mapping[str, str | None], message: str
) -> None:
    environment = {**ENVIRONMENT, **changed}
    with pytest.raises(InputError, match=message) as refusal:
        _place({name: value for name, value in environment.items() if value is not None})
    assert refusal.value.shared


@pytest.mark.medium
def test_a_process_that_has_met_the_others_and_cannot_connect_says_so_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    port = _free_port()
    monkeypatch.setattr(distributed, "CONNECTING", timedelta(seconds=1))
    for name, value in {**ENVIRONMENT, "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}.items():
        monkeypatch.setenv(name, value)

    def meet_and_leave() -> None:
        store = torch.distributed.TCPStore("127.0.0.1", port, 2, is_master=False)
        distributed._fresh(store, Distributed(rank=1, size=2))

    other = Thread(target=meet_and_leave)
    other.start()
    with (
        pytest.raises(
            RunError,
            match=r"^process 0 of 2: has met the others at 127\.0\.0\.1:\d+, yet .*\); set GLOO_SOCKET_IFNAME on",
        ),
        init_distributed("cpu"),
    ):
        pass
    other.join()
    assert not torch.distributed.is_initialized()


def test_a_batch_that_cannot_be_dealt_out_is_refused_with_one_that_can() -> None:
    with pytest.raises(InputError, match=r"batch_size 100: cannot .* to 3 processes; set --batch-size 99") as refusal:
        Distributed(size=3).share(100, 1)
    assert refusal.value.shared
    with pytest.raises(InputError, match=r"to 3 processes in 2 pieces each; set --batch-size 6, or"):
        Distributed(size=3).share(4, 2)
    assert Distributed(size=3).share(12, 2) == 4


@pytest.mark.parametrize(
    ("accumulate", "processes", "sync_norm", "pieces"),
    [
        (1, 1, False, 1),
        (4, 1, False, 4),
        (4, 2, False, 2),
        (4, 4, False, 1),
        (2, 4, False, 1),
        (4, 3, False, 2),
        (4, 2, True, 4),
    ],
)
def test_the_pieces_of_a_step_are_shared_out_too(accumulate: int, processes: int, sync_norm: bool, pieces: int) -> None:
    config = TrainConfig(epochs=1, batch_size=128, accumulate=accumulate, sync_norm=sync_norm)
    assert config.pieces(processes) == pieces


PREPARATION = Preparation(channels=3)


def _images(num: int = 50) -> ArrayImages:
    pixels = torch.randint(256, (num, 3, 12, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return ArrayImages(pixels, torch.arange(num) % 5, tuple("abcde"), "noise")


def _batches(images: Any, augmentation: Augmentation, processes: int, **fields: Any) -> list[Batch]:
    """Steps 3 to 5, the shares of all processes put together."""
    statistics = measure_statistics(_images(), PREPARATION, seed=0, on_bad_image="stop")
    shares = [
        TrainLoader(
            images,
            augmentation,
            PREPARATION,
            statistics,
            TrainLoaderConfig(batch_size=12, seed=4, rank=rank, world_size=processes, **fields),
        )
        for rank in range(processes)
    ]
    found = []
    for parts in zip(*(share.batches(3, 6) for share in shares), strict=True):
        columns = ([getattr(part, name) for part in parts] for name in ("images", "targets", "indices"))
        found.append(Batch(*(torch.cat(column) for column in columns)))
    return found


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(),
        Augmentation(crop="pad", pad=2, flip=0.5, erase=0.5, colour_pca=0.1),
        Augmentation(crop="pad", pad=2, mixup=0.4),
        Augmentation(mixup=0.4, cutmix=1.0),
    ],
)
@pytest.mark.parametrize("even", [False, True])
@pytest.mark.medium
def test_the_shares_of_all_processes_are_bitwise_the_batch_of_one(augmentation: Augmentation, even: bool) -> None:
    whole = _batches(_images(), augmentation, 1, even=even)
    for processes in (2, 3, 12):
        for mine, theirs in zip(_batches(_images(), augmentation, processes, even=even), whole, strict=True):
            assert torch.equal(mine.images, theirs.images)
            assert torch.equal(mine.targets, theirs.targets)
            assert torch.equal(mine.indices, theirs.indices)


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_an_image_that_cannot_be_read_changes_nothing_for_the_others(mixup: float, tmp_path: Path) -> None:
    from PIL import Image

    pictures = _images(20)
    paths = []
    for number in range(20):
        paths.append(tmp_path / f"{number}.png")
        if number % 4:
            Image.fromarray(pictures.pixels[number].permute(1, 2, 0).numpy()).save(paths[-1])
        else:
            paths[-1].write_bytes(b"broken")
    files = FileImages(tuple(paths), pictures.targets, pictures.classes)
    whole = _batches(files, Augmentation(mixup=mixup), 1, on_bad_image="skip")
    assert any(len(batch) < 12 for batch in whole)
    for processes in (2, 3):
        for mine, theirs in zip(
            _batches(files, Augmentation(mixup=mixup), processes, on_bad_image="skip"), whole, strict=True
        ):
            assert torch.equal(mine.images, theirs.images)
            assert torch.equal(mine.targets, theirs.targets)
            assert torch.equal(mine.indices, theirs.indices)


def test_evaluation_deals_out_each_image_once_in_the_batches_of_one_process() -> None:
    statistics = measure_statistics(_images(), PREPARATION, seed=0, on_bad_image="stop")
    whole = [
        batch.indices for batch in evaluation_batches(_images(), PREPARATION, statistics, LoaderConfig(batch_size=7))
    ]
    for processes in (2, 3, 9):
        shares = [
            [
                batch.indices
                for batch in evaluation_batches(
                    _images(), PREPARATION, statistics, LoaderConfig(batch_size=7, rank=rank, world_size=processes)
                )
            ]
            for rank in range(processes)
        ]
        assert sorted(indices.tolist() for share in shares for indices in share) == [one.tolist() for one in whole]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What together.py found in one process, and in each of two."""
    folder = tmp_path_factory.mktemp("together")
    for count in (1, 2):
        for code, _, errors in ended_together([sys.executable, str(PROGRAM), str(folder)], count):
            assert code == 0, errors
    one, *two = (
        torch.load(folder / f"rank-{rank}-of-{size}.pt", weights_only=False) for rank, size in ((0, 1), (0, 2), (1, 2))
    )
    return one, two


@pytest.mark.slow
class TestTwoProcesses:
    def test_they_agree(self, found: Any) -> None:
        for rank, told in enumerate(found[1]):
            agreed = told["agreements"]
            assert (agreed["highest"], agreed["gathered"], agreed["on_rank_zero"]) == ((1, 7), [0, 10], "from 0")
            assert agreed["agreed"] == agreed["in_turn"] == rank
            assert agreed["same"] == "nothing"

    def test_what_one_refuses_all_refuse_in_its_words(self, found: Any) -> None:
        for told in found[1]:
            agreed = told["agreements"]
            assert agreed["refused by first"] == "InputError True by 0\na line"
            assert agreed["refused by last"] == agreed["refused in gathering"] == "InputError True by 1\na line"
            assert agreed["others"].startswith(
                "InputError True process 1 has other images than process 0 (digest 1, digest 0); give"
            )

    def test_a_loss_that_is_not_finite_in_one_stops_both(self, found: Any) -> None:
        for told in found[1]:
            assert told["not finite"].startswith("DivergedError True step 1: the loss is nan at learning rate 0.1")

    def test_gradients_are_sums_weighted_by_the_images_that_are_there(self, found: Any) -> None:
        # per image: process 0 has gradient 1 on 8 images, process 1 has 2 on 4 of its 8
        for told in found[1]:
            first, second, third = told["unused"]["gradients"]
            assert first == pytest.approx([(8 * 1 + 4 * 2) / 12] * 3)
            assert second == pytest.approx([8 / 12] * 3)
            assert third is None
            assert told["unused"]["seen"] == 12
            assert told["unused"]["mistakes"] == 3
            assert told["unused"]["mean"] == pytest.approx(
                8 * 3 / 12
            )  # a loss of 3 on the images of process 0, 0 on the others

    @pytest.mark.parametrize(
        "case", ["accumulated", "accumulated 4", "weighted", "synced", "from nothing", "from nothing, synced"]
    )
    def test_training_is_that_of_one_process(self, found: Any, case: str) -> None:
        one, two = found
        for kind in ("weights", "average"):
            for name, tensor in (one[case][kind] or {}).items():
                assert torch.equal(two[0][case][kind][name], two[1][case][kind][name]), name
                torch.testing.assert_close(two[0][case][kind][name], tensor, rtol=1e-6, atol=5e-6)
        assert two[0][case]["told"] == two[1][case]["told"]
        for mine, theirs in zip(two[0][case]["told"], one[case]["told"], strict=True):
            assert mine == pytest.approx(theirs, rel=1e-5)

    def test_a_synchronous_norm_is_the_norm_of_the_whole_batch(self, found: Any) -> None:
        one, two = found[0]["whole norm"], [told["whole norm"] for told in found[1]]
        torch.testing.assert_close(two[0].pop("rows") + two[1].pop("rows"), one["rows"], rtol=0, atol=1e-13)
        for name in two[0]:
            torch.testing.assert_close(two[0][name], one[name], rtol=1e-12, atol=1e-13)
            assert torch.equal(two[0][name], two[1][name])

    def test_evaluation_is_bitwise_that_of_one_process(self, found: Any) -> None:
        one, two = found
        for told in two:
            assert told["evaluation"]["result"] == one["evaluation"]["result"]
            assert torch.equal(told["evaluation"]["loss"], one["evaluation"]["loss"])


SETTINGS = [
    "digits",
    "--batch-size",
    "32",
    "--compile",
    "off",
    "--set",
    "train.iterations=50",
    "--set",
    "train.epochs=none",
]
SETTINGS += ["--set", "train.save_every_seconds=0.05", "--set", "train.accumulate=2", "--device", "cpu"]


def _saved(folder: Path) -> int:
    return max((int(path.name.removeprefix("step-")) for path in folder.glob("state/step-*")), default=0)


def _wait_for(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    began = monotonic()
    while _saved(folder) < step:
        assert process.poll() is None, process.communicate()
        assert monotonic() - began < 120
        sleep(0.01)


def _children(process: subprocess.Popen[str]) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True)
    return [int(line) for line in found.stdout.split()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes from beginning to end."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    first, second = ended_together([*DEEPRES, "train", *SETTINGS, "--output", str(folder)])
    assert (first[0], second[0]) == (0, 0), (first, second)
    assert first[2].count("50 steps of 32 images on 2 processes") == 1
    assert first[1].count("report: ") == 1
    assert second[1:] == ("", "")  # one of them speaks
    return folder


@pytest.mark.long
def test_a_killed_process_is_started_again_and_the_run_ends_with_the_same_weights(
    undisturbed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    words = [*TORCHRUN, "--max-restarts", "2", "-m", "deepres", "train", *SETTINGS, "--output", str(folder)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    _wait_for(folder, 10, process)
    victim = _children(process)[-1]
    os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert "goes on after step" in errors
    assert digest(folder / WEIGHTS) == digest(undisturbed / WEIGHTS)


@pytest.mark.long
def test_all_stop_when_asked_and_another_number_of_processes_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    both = together([*DEEPRES, "train", *SETTINGS, "--output", str(folder)], stderr=subprocess.PIPE, text=True)
    _wait_for(folder, 10, both[0])
    both[1].send_signal(signal.SIGTERM)  # one is told, all stop
    (_, errors), (_, silent) = (process.communicate(timeout=100) for process in both)
    assert errors.count("deepres: stopped after step") == 1, errors
    assert "Traceback" not in silent
    assert [process.returncode for process in both] == [143, 143]
    assert 10 <= _saved(folder) < 50
    alone = run([*DEEPRES, "train", "--resume", str(folder), "--device", "cpu"], capture_output=True, text=True)
    assert alone.returncode == 0, alone.stderr
    mine, theirs = (_weights(path) for path in (folder, undisturbed))
    for name, tensor in theirs.items():
        torch.testing.assert_close(mine[name], tensor, rtol=1e-5, atol=1e-5)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / WEIGHTS)


def _free_port() -> int:
    import socket

    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "digits", "--batch-size", "33", "--device", "cpu"],
            "deepres: train.batch_size 33: cannot be dealt out",
        ),
        (["train", "--epochs", "0"], "deepres: Invalid value for '--epochs'"),
        (["eval", "nowhere", "--device", "cpu"], "deepres: weights nowhere: "),
    ],
)
def test_a_refusal_is_one_line_of_the_first_process_and_exit_code_2_of_all(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = ended_together([*DEEPRES, *arguments])
    assert (first[0], second[0]) == (2, 2), (first, second)
    assert first[2].startswith(message)
    assert first[2].count("\n") == 1
    assert second[2] == ""
    assert not list(tmp_path.iterdir())
