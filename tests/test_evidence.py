"""Published tables are those that the evidence gives."""

import importlib.util
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_readmes_table_is_generated_from_the_evidence() -> None:
    spec = importlib.util.spec_from_file_location("table", ROOT / "evidence" / "table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "README.md").read_text() == module.written(), "run: python evidence/table.py"


def test_every_claim_carries_command_hardware_versions_seeds_and_n() -> None:
    for path in (ROOT / "evidence").glob("*.json"):
        facts = json.loads(path.read_text())
        assert facts.keys() >= {"claim", "command", "hardware", "versions", "n"}, path
        assert not re.search(r"/(tmp|root|work|home)/", path.read_text()), path
