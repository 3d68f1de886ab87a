"""A network exchanged while it answers."""

import asyncio
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deepres.base.errors import InputError
from deepres.predict.predictor import Predictor
from deepres.serve.models import words_of


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["runs/digits-1"], ["digits-1"]),
        (["runs/digits-1/"], ["digits-1"]),
        (["a=runs/x", "b=runs/x"], ["a", "b"]),
        (["resnet50.a1_in1k"], ["resnet50.a1_in1k"]),
        (["hf-hub:timm/resnet18.a1_in1k"], ["resnet18.a1_in1k"]),
        (["weights/net.safetensors"], ["net"]),
        (["my run/ü b"], ["b"]),
        (["x=a=b"], ["x"]),
    ],
)
def test_a_network_goes_by_its_name(words: list[str], names: list[str]) -> None:
    assert [one.name for one in words_of(words)] == names


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="runs/a/net and runs/b/net: both are called net; name one, NAME=runs/b/net"):
        words_of(["runs/a/net", "runs/b/net"])
    (tmp_path / "a=b").mkdir()
    (one,) = words_of([str(tmp_path / "a=b")])
    assert one.where == str(tmp_path / "a=b")


@pytest.fixture
def served(starting: Any, networks: Callable[..., Path], tmp_path: Path) -> Any:
    networks(tmp_path / "net", 0)
    return starting(tmp_path / "net")


def _reload(client: Any) -> bool:
    done = asyncio.run_coroutine_threadsafe(client.running.service.models.reload("net"), client.loop)
    return bool(done.result(30))


@pytest.fixture
def clients(served: Any, pictures: Callable[..., bytes]) -> Iterator[list[Any]]:
    """Sixteen clients that ask without end; their replies so far."""
    stop, replies = threading.Event(), list[Any]()

    def work(number: int) -> None:
        while not stop.is_set():
            replies.append(served("/v1/predict", pictures(number)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    yield replies
    stop.set()
    for thread in threads:
        thread.join()
    assert {reply.status for reply in replies} == {200}


@pytest.mark.slow
def test_a_new_network_is_exchanged_under_load_without_a_failed_request(
    served: Any, clients: list[Any], networks: Callable[..., Path], pictures: Callable[..., bytes], tmp_path: Path
) -> None:
    before = served("/v1/models/net").json["sha256"]
    networks(tmp_path / "net", 5)
    assert _reload(served)
    assert served("/v1/models/net").json["sha256"] != before
    (tmp_path / "p.png").write_bytes(pictures(1))
    wanted = Predictor.load(tmp_path / "net", "cpu")(tmp_path / "p.png").guesses
    told = served("/v1/predict", pictures(1)).json["answers"][0]["guesses"]
    assert [one["probability"] for one in told] == pytest.approx([one.probability for one in wanted], abs=1e-5)
    (line,) = served.log("reload")
    assert (line["outcome"], line["before"]) == ("done", before)
    assert served.metric('deepres_reloads_total{model="net",outcome="done"}') == 1
    assert served.metric("deepres_model_info") == 1


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def _not_finite(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("fc.bias"))
    tensors[name] = tensors[name] * float("nan")
    save_file(tensors, folder / "model.safetensors")


def _of_another(folder: Path) -> None:
    facts = json.loads((folder / "config.json").read_text())
    facts["label_names"] = ["only one"]
    (folder / "config.json").write_text(json.dumps(facts))


@pytest.mark.slow
@pytest.mark.parametrize("broken", [shutil.rmtree, _cut, _not_finite, _of_another])
def test_a_broken_one_is_refused_and_the_old_one_goes_on(
    served: Any, clients: list[Any], tmp_path: Path, broken: Callable[[Path], None]
) -> None:
    before = served("/v1/models/net").json["sha256"]
    broken(tmp_path / "net")
    assert not _reload(served)
    assert served("/v1/models/net").json["sha256"] == before
    (line,) = served.log("reload")
    assert line["outcome"] == "refused"
    assert line["problem"]
    assert served.metric('deepres_reloads_total{model="net",outcome="refused"}') == 1
    so_far = len(clients)
    while len(clients) < so_far + 4:
        time.sleep(0.01)
