"""8 bits against float32: `python bench/slim_int8.py WEIGHTS --calibrate FOLDER… --photos FOLDER… [--output FILE]`.

onnxruntime's and OpenVINO's int8 of the same network, both calibrated by the same photos, against onnxruntime float32,
contenders in turn. On the photos of each folder that calibrated nothing: how often the first class is float32's, and,
in a folder of class folders whose names are the network's, the error of each, paired. `--without` are units that are
left out too: their speed in 8 bits, without a word on what they cost.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import protocol
import torch
from protocol import Contender
from torch import Tensor

from deepres.data.decode import decode
from deepres.data.transforms.per_image import fit
from deepres.export import onnx_file, openvino_folder, quantise
from deepres.export.facts import bundle_of
from deepres.nn.hardware import multiplies_bfloat16
from deepres.nn.weights.part import part_of
from deepres.nn.weights.spec import WeightsSpec
from deepres.predict.exported import onnx_session, openvino_network
from deepres.predict.exported.bundle import Bundle
from deepres.predict.predictor import Predictor
from deepres.slim.gate import score_interval

CPU = torch.device("cpu")
BASE = "onnxruntime float32"
Asked = Callable[[Tensor], Tensor]


def pictures_of(folder: str, predictor: Predictor, most: int) -> tuple[list[Tensor], list[str]]:
    """At most so many photos under the folder, evenly, fitted; and the names of the folders that they lie in."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    paths = paths[:: max(1, len(paths) // most)][:most]
    preparation = predictor.preparation
    made = [fit(decode(path, preparation.channels), preparation, path.name) for path in paths]
    return made, [path.parent.name for path in paths]


def contenders(
    predictor: Predictor, bundle: Bundle, pictures: list[Tensor]
) -> tuple[dict[str, Asked], dict[str, float]]:
    """Every way to answer, and the seconds that quantising took."""
    whole = onnx_file.fitted(predictor, bundle)
    eighth, seconds = protocol.timed(lambda: quantise.quantised_model(whole, bundle, pictures))
    opened = openvino_folder.converted(whole)
    found: dict[str, Asked] = {
        BASE: onnx_session.session_of(whole.SerializeToString(), bundle, "float32"),
        "onnxruntime int8": onnx_session.session_of(eighth.SerializeToString(), bundle, "int8"),
        "OpenVINO float32": openvino_network.compiled(opened.clone(), bundle, "float32"),
    }
    rounded, more = protocol.timed(lambda: openvino_folder.quantised(opened.clone(), pictures))
    found["OpenVINO int8"] = openvino_network.compiled(rounded, bundle, "int8")
    if multiplies_bfloat16(CPU):
        found["OpenVINO bfloat16"] = openvino_network.compiled(opened.clone(), bundle, "bfloat16", precision="bf16")
    return found, {"onnxruntime": round(seconds, 1), "OpenVINO": round(more, 1)}


def without(predictor: Predictor, units: Sequence[str], weights: str, pictures: list[Tensor]) -> Asked:
    """onnxruntime int8 of the network without these units; few pictures calibrate what only its speed is asked of."""
    from dataclasses import replace

    part = replace(predictor, network=part_of(predictor.network, tuple(units)))
    bundle = bundle_of(part, weights)
    model = quantise.quantised_model(onnx_file.fitted(part, bundle), bundle, pictures[:4])
    return onnx_session.session_of(model.SerializeToString(), bundle, "int8")


def answers(asked: Asked, pictures: list[Tensor]) -> Tensor:
    """The first class of each picture."""
    return torch.cat([asked(torch.stack(pictures[at : at + 16])).argmax(1) for at in range(0, len(pictures), 16)])


def classes_of(names: Sequence[str], known: Sequence[str]) -> list[int] | None:
    """The classes of folders that are called as the network's (`ice_lolly`: `ice lolly, lolly`); None: others."""
    spelt = {word.strip().replace(" ", "_"): place for place, name in enumerate(known) for word in name.split(",")}
    places = [spelt.get(name) for name in names]
    return None if None in places else [place for place in places if place is not None]


def agreement(ways: dict[str, Asked], pictures: list[Tensor], names: list[str], known: Sequence[str]) -> dict[str, Any]:
    """How often each answers as float32; where classes are known its error, and what it loses against float32."""
    found = {name: answers(asked, pictures) for name, asked in ways.items() if "int8" in name or name == BASE}
    labels, whole = classes_of(names, known), found[BASE]
    row: dict[str, Any] = {"images": len(pictures)}
    for name, own in found.items():
        facts: dict[str, Any] = {"same_first_class": float((own == whole).double().mean())}
        if labels is not None:
            truth = torch.tensor(labels)
            lost, gained = (
                int(((whole == truth) & (own != truth)).sum()),
                int(((whole != truth) & (own == truth)).sum()),
            )
            facts |= {"error": float((own != truth).double().mean()), "lost": lost, "gained": gained}
            facts["loss_interval_95"] = score_interval(lost, gained, len(pictures))
        row[name] = facts
    return row


def main() -> None:
    """Measure, print the tables, write the evidence after each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("--calibrate", nargs="+", required=True)
    parser.add_argument("--photos", nargs="*", default=[], metavar="FOLDER[:MOST]")
    parser.add_argument("--pictures", type=int, default=128, help="that calibrate, in all")
    parser.add_argument("--without", nargs="*", default=[], metavar="UNIT,UNIT", help="speed without these units")
    parser.add_argument("--labels", type=Path, help="JSON from index to the name of a class, where weights have none")
    parser.add_argument("--rounds", type=int, nargs=2, default=[7, 3], help="at batch 1 and 16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=["wall", "processor"], default="processor")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    predictor = Predictor.load(WeightsSpec(given.weights), CPU)
    known = predictor.classes if given.labels is None else tuple(json.loads(given.labels.read_text()).values())
    bundle = bundle_of(predictor, given.weights)
    each = given.pictures // len(given.calibrate)
    pictures = [one for folder in given.calibrate for one in pictures_of(folder, predictor, each)[0]]
    ways, seconds = contenders(predictor, bundle, pictures)
    name = predictor.network.description.name
    facts = protocol.claim(
        f"{name} in 8 bits: speed against onnxruntime float32, and how often the first class is the same",
        CPU,
        given.rounds[0],
        clock=given.clock,
        calibration={Path(folder).name: each for folder in given.calibrate},
        quantising_seconds=seconds,
        rows={},
        agreement=[],
    )
    less = {
        f"onnxruntime int8, without {units}": without(predictor, units.split(","), given.weights, pictures)
        for units in given.without
    }
    for batch, rounds in zip((1, 16), given.rounds, strict=True):
        images = torch.stack((pictures * batch)[:batch])
        found = [
            Contender(way, lambda asked=asked, images=images: asked(images), batch)
            for way, asked in {**ways, **less}.items()
        ]  # type: ignore[misc]
        rows = protocol.rows(found, protocol.measure(found, rounds, clock=given.clock), BASE)
        facts["rows"][f"batch {batch}"] = rows
        print(protocol.table(f"batch {batch}", rows), flush=True)
        protocol.write(facts, given.output)
    for asked in given.photos:
        folder, _, most = asked.partition(":")
        photos, names = pictures_of(folder, predictor, int(most or 10**6))
        row = {
            "photos": Path(folder).parent.name if Path(folder).name in ("val", "train", "test") else Path(folder).name
        }
        facts["agreement"].append({**row, **agreement(ways, photos, names, known)})
        print(facts["agreement"][-1], flush=True)
        protocol.write(facts, given.output)


if __name__ == "__main__":
    main()
