"""Labels of boxes made to harm their reader: bombs, foreign entities, depths, numbers that are none; one line each."""

import json
import sys
from pathlib import Path
from time import process_time

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from labels_of_boxes import COCO, TABLE, VOC, YOLO, labels_of_boxes

from deepres.base.errors import InputError

READERS = {reader.name: reader for reader in labels_of_boxes()}
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
COCO_TEXT = json.dumps(COCO)


def with_entity(declared: str, used: str) -> str:
    return f"<!DOCTYPE a [{declared}]>" + VOC.format(name="a").replace("<name>cat", f"<name>{used}")


HOSTILE: dict[str, tuple[str, str | bytes]] = {
    "billion laughs": ("VOC annotation", with_entity(f'<!ENTITY l0 "ha">{LAUGHS}', "&l9;")),
    "a file as entity": ("VOC annotation", with_entity('<!ENTITY x SYSTEM "file:///etc/passwd">', "&x;")),
    "an address as entity": ("VOC annotation", with_entity('<!ENTITY x SYSTEM "http://127.0.0.1:1/x">', "&x;")),
    "a DTD from elsewhere": (
        "VOC annotation",
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd">' + with_entity("", "&x;"),
    ),
    "parameter entities": ("VOC annotation", with_entity('<!ENTITY % p SYSTEM "file:///etc/passwd">%p;', "&x;")),
    "XML of a great depth": ("VOC annotation", "<annotation>" + "<a>" * 200_000 + "</a>" * 200_000 + "</annotation>"),
    "an encoding that is none": ("VOC annotation", b'<?xml version="1.0" encoding="utf-7"?><annotation/>'),
    "a box of nan": ("VOC annotation", VOC.format(name="a").replace("<xmin>2<", "<xmin>nan<")),
    "a box of infinity": ("VOC annotation", VOC.format(name="a").replace("<xmax>10<", "<xmax>1e999<")),
    "a number of 5,000 digits": ("VOC annotation", VOC.format(name="a").replace("<xmax>10<", f"<xmax>{'9' * 5000}<")),
    "JSON of a great depth": ("COCO annotations", '{"images": ' + "[" * 200_000 + "]" * 200_000 + "}"),
    "JSON's huge number": ("COCO annotations", COCO_TEXT.replace("9.5", "9" * 5000)),
    "JSON's overflow": ("COCO annotations", COCO_TEXT.replace("9.5", "1e999")),
    "JSON's NaN": ("COCO annotations", COCO_TEXT.replace("9.5", "NaN")),
    "JSON's id of 5,000 digits": ("COCO annotations", COCO_TEXT.replace('"image_id": 7', f'"image_id": {"7" * 5000}')),
    "JSON's box of words": ("COCO annotations", COCO_TEXT.replace("9.5", '"wide"')),
    "JSON's name of a list": ("COCO annotations", COCO_TEXT.replace('"a.jpg"', '["a.jpg"]')),
    "YOLO's nan": ("YOLO labels", YOLO.replace("0.25 0.5", "nan 0.5")),
    "YOLO's inf": ("YOLO labels", YOLO.replace("0.25 0.5", "inf 0.5")),
    "YOLO's class of inf": ("YOLO labels", "inf" + YOLO[1:]),
    "YOLO's class of 10**18": ("YOLO labels", f"{10**18}" + YOLO[1:]),
    "YOLO's class below 0": ("YOLO labels", "-1" + YOLO[1:]),
    "YOLO's number of 5,000 digits": ("YOLO labels", YOLO.replace("0.25", "9" * 5000, 1)),
    "YAML's bomb": (
        "YOLO description",
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{c}: &{c} [{','.join(['*' + b] * 9)}]\n" for b, c in zip("abcdefgh", "bcdefghi", strict=True)),
    ),
    "YAML's object": ("YOLO description", "train: !!python/object/apply:os.system ['true']\nnames: [cat, dog]\n"),
    "YAML of a great depth": ("YOLO description", "train: " + "[" * 20_000),
    "YAML's long path": ("YOLO description", f"train: {'x' * 5000}\nnames: [cat, dog]\n"),
    "a million classes by number": ("YOLO description", "train: images/train\nnames: {1000000000: cat}\n"),
    "a table's nan": ("table of boxes", TABLE.replace("cat,1,", "cat,nan,")),
    "a table's inf": ("table of boxes", TABLE.replace("10,12", "inf,12")),
    "a table's 5,000 digits": ("table of boxes", TABLE.replace("10,12", f"{'9' * 5000},12")),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_it_is_refused_in_one_line_and_soon(case: str, tmp_path: Path) -> None:
    name, content = HOSTILE[case]
    file = READERS[name].write_valid(tmp_path)
    READERS[name].read(file)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    began = process_time()
    with pytest.raises(InputError) as refused:
        READERS[name].read(file)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1500
    assert "root:" not in str(refused.value)
    assert process_time() - began < 3
