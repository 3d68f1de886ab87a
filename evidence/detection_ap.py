"""Average precision of published detections on published boxes: ours, what is published, what pycocotools gives.

    python evidence/detection_ap.py DATA            writes evidence/detection_ap.json

DATA holds `eval_fixtures` and `detection` (cocodataset/cocoapi: 100 pictures of COCO val2014 with detections;
rafaelpadilla/review_object_detection_metrics: two cases with figures, and 100 pictures of VOC 2007 with a detector's
answers). Equal scores go by the order of the ids of pictures. Files of one VOC
case are x, y, w, h of pixels, both edges inside: a box is (x, y, x + w + 1, y + h + 1).
"""

import contextlib
import io
import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepres.nn.environment import hardware, versions
from deepres.tasks.detection.ap_coco import coco_figures
from deepres.tasks.detection.ap_voc import voc_matches
from deepres.tasks.detection.coco_json import read_coco
from deepres.tasks.detection.detections import Detections, Truth
from deepres.tasks.detection.matches import average_precisions, of_11, of_all, statistic

HERE = Path(__file__).parent
CLAIM = "average precision of boxes is the field's, COCO's and VOC's, on published detections"
TWELVE = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
COCO_100 = (0.505, 0.697, 0.573, 0.586, 0.519, 0.501, 0.387, 0.594, 0.595, 0.640, 0.566, 0.564)
PADILLA = (0.503647, 0.696973, 0.571667, 0.593252, 0.557991, 0.489363, 0.386813, 0.593680, 0.595353, 0.654764, 0.603130)
PADILLA_COCO = (*PADILLA, 0.553744)
PADILLA_OVERLAPS = (0.1, 0.3, 0.5, 0.75)
PADILLA_11 = (0.3333333333, 0.2683982683, 0.0303030303, 0.0)
PADILLA_ALL = (0.3371980676, 0.2456866804, 0.0222222222, 0.0)
CUTS = (0.0, 0.05, 0.5, 0.7)

Measured = tuple[Detections, Truth, int, int]
"""Detections, truth, number of pictures, number of classes."""


def corners(boxes: Sequence[Sequence[float]], more: float = 0.0) -> Any:
    """x, y, w, h -> x, y, x + w + more, y + h + more."""
    rows = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:] + more], axis=1)


def coco_truth(given: Mapping[str, Any]) -> Truth:
    """The boxes of COCO's JSON, pictures and classes in the order of their ids."""
    images = {number: place for place, number in enumerate(ids(given["images"]))}
    classes = {number: place for place, number in enumerate(ids(given["categories"]))}
    rows = given["annotations"]
    return Truth.of(
        {
            "image": [images[row["image_id"]] for row in rows],
            "corners": corners([row["bbox"] for row in rows]),
            "classes": [classes[row["category_id"]] for row in rows],
            "ignored": [bool(row["iscrowd"]) for row in rows],
            "areas": [row["area"] for row in rows],
        }
    )


def ids(entries: Sequence[Mapping[str, Any]]) -> list[int]:
    """In order."""
    return sorted(one["id"] for one in entries)


def coco_case(data: Path) -> Measured:
    """COCO val2014's first 100 pictures, with crowds, and the detections that its tools bring."""
    home = data / "eval_fixtures" / "coco_val2014_100"
    given = json.loads((home / "instances_val2014_100.json").read_text())
    images, classes = ids(given["images"]), ids(given["categories"])
    names = [str(number) for number in images]
    found = read_coco(
        home / "instances_val2014_fakebbox100_results.json", names, list(map(str, classes)), images, classes
    )
    return found, coco_truth(given), len(images), len(classes)


def padilla_coco_case(data: Path) -> Measured:
    """The same detections with the boxes of another sample, in files that bring pictures and classes by name."""
    home = data / "eval_fixtures" / "padilla_voc_coco" / "test_coco_eval"
    given = json.loads((home / "gts" / "sampled_gts_bbox_area.json").read_text())
    pictures = [one["file_name"] for one in sorted(given["images"], key=lambda one: one["id"])]
    classes = [one["name"] for one in sorted(given["categories"], key=lambda one: one["id"])]
    found = read_coco(home / "dets" / "sampled_bbox_results.json", pictures, classes)
    return found, coco_truth(given), len(pictures), len(classes)


def padilla_voc_case(data: Path) -> Measured:
    """Seven pictures, one class."""
    home = data / "eval_fixtures" / "padilla_voc_coco" / "test_case_1"
    rows: dict[str, list[list[float]]] = {"gts": [], "dets": []}
    for kind, kept in rows.items():
        for place, path in enumerate(sorted((home / kind).glob("*.txt"))):
            kept += [[place, *map(float, line.split()[1:])] for line in path.read_text().splitlines() if line.strip()]
    own, boxes = np.array(rows["gts"]), np.array(rows["dets"])
    none = np.zeros(len(own))
    truth = {"image": own[:, 0], "corners": corners(own[:, 1:], 1), "classes": none, "ignored": none, "areas": none}
    found = {
        "image": boxes[:, 0],
        "corners": corners(boxes[:, 2:], 1),
        "classes": 0 * boxes[:, 0],
        "scores": boxes[:, 1],
    }
    return Detections.of(found), Truth.of(truth), 7, 1


def voc_case(data: Path, form: str, pixels_inside: bool = False, difficult: bool = True) -> Measured:
    """100 pictures of VOC 2007, truth from JSON or XML; everything is matched by name.

    `pixels_inside`: corners of both, truth and detections, are taken as pixels inside, as the devkit does. Without
    `difficult` what is difficult counts.
    """
    home = data / "detection" / "voc2007_100" / "data" / "database"
    given = json.loads((home / "gts" / "coco_format_v1" / "instances_default.json").read_text())
    pictures = [one["file_name"] for one in sorted(given["images"], key=lambda one: one["id"])]
    classes = [one["name"] for one in sorted(given["categories"], key=lambda one: one["id"])]
    found = read_coco(home / "dets" / "coco_format" / "coco_dets.json", pictures, classes)
    if form == "json":
        return found, coco_truth(given), len(pictures), len(classes)
    rows = [
        (place, *(float(one.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")), one)
        for place, picture in enumerate(pictures)
        for one in ET.parse(home / "gts" / "pascalvoc_format" / f"{Path(picture).stem}.xml").getroot().iter("object")
    ]
    boxes = np.array([row[1:5] for row in rows])
    if pixels_inside:
        boxes[:, 2:] += 1
        wider = found.corners.clone()
        wider[:, 2:] += 1
        found = Detections(found.image, wider, found.classes, found.scores)
    else:
        boxes[:, :2] -= 1
    truth = {
        "image": [row[0] for row in rows],
        "corners": boxes,
        "classes": [classes.index(row[5].findtext("name", "")) for row in rows],
        "ignored": [difficult and row[5].findtext("difficult") == "1" for row in rows],
        "areas": (boxes[:, 2:] - boxes[:, :2]).prod(1),
    }
    return found, Truth.of(truth), len(pictures), len(classes)


def voc_mean(measured: Measured, year: int) -> float:
    """VOC's mean average precision at an overlap of .5."""
    found, truth, images, classes = measured
    share = of_11 if year == 2007 else of_all
    return float(statistic(voc_matches(found, truth, images, classes), share)(np.ones((1, images)))[0])


def pycocotools(measured: Measured) -> list[float]:
    """Its twelve figures of the same boxes, -1 where there is nothing to find."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found, truth, images, classes = measured

    def sides(boxes: Any) -> list[list[float]]:
        return [[x, y, far - x, low - y] for x, y, far, low in boxes.tolist()]

    own = zip(
        *(one.tolist() for one in (truth.image, truth.classes, truth.ignored, truth.areas)),
        sides(truth.corners),
        strict=True,
    )
    rows = zip(*(one.tolist() for one in (found.image, found.classes, found.scores)), sides(found.corners), strict=True)
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "images": [{"id": one} for one in range(images)],
            "categories": [{"id": one} for one in range(classes)],
            "annotations": [
                {"id": row, "image_id": image, "category_id": of, "iscrowd": int(crowd), "area": area, "bbox": box}
                for row, (image, of, crowd, area, box) in enumerate(own, start=1)
            ],
        }
        known.createIndex()
        answers = [
            {"image_id": image, "category_id": of, "score": score, "bbox": box} for image, of, score, box in rows
        ]
        asked = COCOeval(known, known.loadRes(answers), "bbox")
        asked.evaluate()
        asked.accumulate()
        asked.summarize()
    return [float(value) for value in asked.stats]


def twelve(measured: Measured) -> list[float]:
    """Ours, -1 where there is nothing to find."""
    return [-1.0 if value is None else value for value in coco_figures(*measured).twelve]


def figures(data: Path) -> list[dict[str, Any]]:
    """A row a figure: fixture, name, what it is held against (published, or pycocotools), ours, the bar."""
    rows: list[dict[str, Any]] = []

    def add(
        fixture: str, names: Sequence[str], ours: Sequence[float], wanted: Sequence[float], bar: float, by: str
    ) -> None:
        rows.extend(
            {
                "fixture": fixture,
                "figure": name,
                "by": by,
                "wanted": there,
                "ours": here,
                "difference": here - there,
                "bar": bar,
            }
            for name, here, there in zip(names, ours, wanted, strict=True)
        )

    coco = coco_case(data)
    add("coco_val2014_100", TWELVE, twelve(coco), COCO_100, 5e-4, "published")
    for cut in CUTS:
        part = (coco[0].above(cut), *coco[1:])
        add(f"coco_val2014_100, scores from {cut:g}", TWELVE, twelve(part), pycocotools(part), 1e-12, "pycocotools")
    add("padilla_voc_coco", TWELVE, twelve(padilla_coco_case(data)), PADILLA_COCO, 1e-6, "published")
    found, truth, images, _ = padilla_voc_case(data)
    (matches,) = voc_matches(found, truth, images, 1, PADILLA_OVERLAPS)
    for share, wanted, name in ((of_11, PADILLA_11, "11 recalls"), (of_all, PADILLA_ALL, "area")):
        names = [f"AP at {overlap:g}, {name}" for overlap in PADILLA_OVERLAPS]
        add("padilla_voc_coco", names, average_precisions(matches, share).tolist(), wanted, 1e-9, "published")
    from_json, from_xml = twelve(voc_case(data, "json")), twelve(voc_case(data, "xml"))
    add("voc2007_100, JSON", TWELVE[:2], from_json[:2], (0.346958, 0.610030), 1e-6, "reference")
    add("voc2007_100, XML", TWELVE[:2], from_xml[:2], (0.360292, 0.609155), 1e-6, "reference")
    inside, counted = voc_case(data, "xml", True), voc_case(data, "xml", True, False)
    voc = [voc_mean(inside, 2007), voc_mean(inside, 2010), voc_mean(counted, 2007)]
    names = ["VOC 2007", "VOC area", "VOC 2007, difficult counted"]
    add("voc2007_100, XML", names, voc, (0.607511, 0.613875, 0.598969), 1e-6, "reference")
    return rows


def main() -> None:
    """Measure, write the file beside this one, say what is beyond its bar."""
    rows = figures(Path(sys.argv[1]))
    facts = {
        "claim": CLAIM,
        "command": "python evidence/detection_ap.py DATA",
        "hardware": hardware(torch.device("cpu")),
        "versions": versions() | {"hotcoco": version("hotcoco")},
        "n": len(rows),
        "rows": rows,
    }
    path = HERE / "detection_ap.json"
    path.write_text(json.dumps(facts, indent=1) + "\n")
    beyond = [row for row in rows if abs(row["difference"]) > row["bar"]]
    print(path, f"{len(rows)} figures, {len(beyond)} beyond their bar", *beyond, sep="\n")


if __name__ == "__main__":
    main()
