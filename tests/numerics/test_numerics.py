"""`make numerics` sees a number that differs, whatever it is called; and no number does."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import numerics

SHA = "0123456789abcdef" * 4
BEFORE: dict[str, Any] = {
    "train digits": {
        "losses of rank 0": [2.25, 1.5, 1.125],
        "weights": {"sha256": SHA, "norms": {"head.fc.weight": 3.0}},
        "test.json": {"error": 0.125, "per_class": [{"name": "0", "num_right": 26}], "good": True},
    },
    "reproduce resnet/table1": {"printed": {"found": [{"row": "18-layer", "values": [18.0]}]}},
}


def changed(case: str, document: str, value: Any) -> dict[str, Any]:
    return {**BEFORE, case: {**BEFORE[case], document: value}}


def differing(after: dict[str, Any], *, bitwise: bool = True) -> list[str]:
    pruned = [{case: numerics.pruned(value) for case, value in found.items()} for found in (BEFORE, after)]
    return [line for row in numerics.rows(*pruned, bitwise=bitwise) for line in row.differs]


def test_what_is_the_same_but_for_times_words_and_what_is_new_is_the_same() -> None:
    test = {"error": 0.125, "per_class": [{"name": "zero", "num_right": 26}], "good": True, "task": 1, "seconds": 3.0}
    assert differing(BEFORE) == []
    assert differing(changed("train digits", "test.json", test)) == []


@pytest.mark.parametrize(
    ("document", "value", "told"),
    [
        ("losses of rank 0", [2.25, 1.5, 1.1250000000000002], "2: 1.125 -> 1.1250000000000002"),
        ("losses of rank 0", [2.25, 1.5], "2: 1.125 -> 'nothing'"),
        ("weights", {"sha256": "f" * 64, "norms": {"head.fc.weight": 3.0}}, f"sha256: {SHA!r} -> '{'f' * 64}'"),
        ("weights", {"sha256": SHA, "norms": {"fc.weight": 3.0}}, "norms.head.fc.weight: 3.0 -> 'nothing'"),
        ("test.json", {"error": 0.25, "per_class": [{"num_right": 26}], "good": True}, "error: 0.125 -> 0.25"),
        ("test.json", {"error": 0.125, "per_class": [{"num_right": 25}], "good": True}, "0.num_right: 26 -> 25"),
        ("test.json", {"error": 0.125, "per_class": [], "good": True}, "per_class.0.num_right: 26 -> 'nothing'"),
        ("test.json", {"error": 0.125, "per_class": [{"num_right": 26}], "good": False}, "good: True -> False"),
    ],
)
def test_a_number_that_differs_is_told(document: str, value: Any, told: str) -> None:
    found = differing(changed("train digits", document, value))
    assert len(found) == 1
    assert found[0].endswith(told)


def test_elsewhere_losses_may_differ_by_a_twentieth_and_descriptions_may_not() -> None:
    near, far = [2.26, 1.49, 1.126], [2.5, 1.5, 1.125]
    table = {"found": [{"row": "18-layer", "values": [19.0]}]}
    others = {"sha256": "f" * 64, "norms": {"head.fc.weight": 9.0}}
    assert differing(changed("train digits", "losses of rank 0", near), bitwise=False) == []
    assert len(differing(changed("train digits", "losses of rank 0", far), bitwise=False)) == 1
    assert len(differing(changed("reproduce resnet/table1", "printed", table), bitwise=False)) == 1
    assert differing(changed("train digits", "weights", others), bitwise=False) == []


def test_a_key_of_before_is_found_under_its_name_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    after = changed("train digits", "test.json", {"task": {"error": 0.125}, "classes": [{"right": 26}], "good": True})
    names = {r"/error$": "/task.error", r"per_class\.(\d+)\.num_right": r"classes.\1.right"}
    assert len(differing(after)) == 2
    monkeypatch.setattr(numerics, "RENAMED_KEYS", names)
    assert differing(after) == []


def test_the_record_knows_every_case_and_holds_no_path() -> None:
    kept = json.loads(numerics.RECORD.read_text())
    assert list(kept["cases"]) == [case.name for case in numerics.CASES]
    assert "/tmp" not in numerics.RECORD.read_text()
    assert len(kept["cases"]["train digits"]["losses of rank 0"]) >= 20


@pytest.mark.parametrize("only", ["train digits", "eval resnet20, names", "reproduce resnet/table1"])
@pytest.mark.long
def test_no_number_has_changed(only: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = numerics.main(["compare", "--only", only])
    assert code == 0, capsys.readouterr().out
