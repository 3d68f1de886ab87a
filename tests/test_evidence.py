"""Published tables are those that the evidence gives."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def _table() -> Any:
    spec = importlib.util.spec_from_file_location("table", ROOT / "evidence" / "table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_pages_are_generated_from_the_evidence() -> None:
    module = _table()
    marked = []
    for page in module.PAGES:
        assert page.read_text() == module.written(page), "run: python evidence/table.py"
        marked += [found[2] for found in module.MARKED.finditer(page.read_text())]
    assert sorted(marked) == sorted(module.TABLES)


def test_every_claim_carries_command_hardware_versions_seeds_and_n() -> None:
    for path in (ROOT / "evidence").glob("*.json"):
        facts = json.loads(path.read_text())
        assert facts.keys() >= {"claim", "command", "hardware", "versions", "n"}, path
        assert not re.search(r"/(tmp|root|work|home)/", path.read_text()), path


def test_the_table_of_photos_has_a_cell_a_contender_and_says_what_was_wanted(tmp_path: Path) -> None:
    def row(error: float, spread: float | None, seconds: float) -> dict[str, Any]:
        return {"test_error": {"mean": error, "std": spread}, "wall_seconds": {"mean": seconds}}

    fast = {"plain": {"median": 3.214, "min": 3, "max": 4}}
    verdict = {"error_at_most_the_best": True, "spread_no_larger": None, "fast_enough": False, "times_as_fast": fast}
    case = {"photos": "p", "images": {"train": 1800}, "told": "from w", "size": 32, "epochs": 5}
    cases = {
        "one": {**case, "rows": {"ours": row(0.014, 0.003, 90), "plain": row(0.02, None, 270)}, "verdict": verdict},
        "two": {**case, "told": "n from scratch", "rows": {"timm": row(0.5, 0.1, 6)}, "verdict": None},
    }
    names = {"ours": "deepres train", "plain": "torchvision", "timm": "timm"}
    path = tmp_path / "photos.json"
    assert _table().photos(path) == ""
    path.write_text(json.dumps({"n": 3, "hardware": "h", "contenders": names, "cases": cases}))
    lines = _table().photos(path).splitlines()
    assert lines[2] == (
        "| p (1,800 photos), from w, 32 px, 5 epochs | **1.4 ± 0.3 %**, 1.5 min | 2.0 %, 4.5 min |  | torchvision 3.21 |"
    )
    assert lines[3] == "| p (1,800 photos), n from scratch, 32 px, 5 epochs |  |  | **50.0 ± 10.0 %**, 0.1 min |  |"
    assert "within its spread: 1 of 1; spread no larger than that one's: 0 of 0; 2.5 times" in lines[5]
