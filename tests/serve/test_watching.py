import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deepres.serve import watching
from deepres.serve.watching import Watching, signature


class One(NamedTuple):
    name: str
    where: str


class Models:
    """Remembers which were asked to be read anew."""

    def __init__(self, *served: One) -> None:
        self._served, self.reloads = served, list[str]()

    def __iter__(self) -> Iterator[One]:
        return iter(self._served)

    async def reload(self, name: str) -> bool:
        self.reloads.append(name)
        return True


@pytest.mark.medium
def test_changed_files_are_taken_up_once_they_stand_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "EVERY_SECONDS", 0.02)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"old")
    models: Any = Models(One("a", str(tmp_path / "a")), One("b", str(tmp_path / "b")))
    file = tmp_path / "a" / "model.safetensors"

    async def main() -> None:
        task = asyncio.ensure_future(Watching(models, look=True).run())
        await asyncio.sleep(0.1)
        assert models.reloads == []
        for size in range(30):  # being written
            file.write_bytes(b"n" * (10 + size))
            await asyncio.sleep(0.005)
        growing = len(models.reloads)
        await asyncio.sleep(0.2)
        assert models.reloads[growing:] == ["a"] or growing == 1
        assert set(models.reloads) == {"a"}
        so_far = len(models.reloads)
        file.unlink()  # gone is no new network
        await asyncio.sleep(0.1)
        assert len(models.reloads) == so_far
        file.write_bytes(b"back")
        await asyncio.sleep(0.2)
        assert models.reloads[so_far:] == ["a"]
        task.cancel()

    asyncio.run(main())


@pytest.mark.medium
def test_without_being_told_to_nothing_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "EVERY_SECONDS", 0.01)
    models: Any = Models(One("a", str(tmp_path)))

    async def main() -> None:
        task = asyncio.ensure_future(Watching(models, look=False).run())
        await asyncio.sleep(0.03)
        (tmp_path / "model.safetensors").write_bytes(b"new")
        await asyncio.sleep(0.1)
        assert models.reloads == []
        task.cancel()

    asyncio.run(main())


def test_what_goes_by_a_name_has_no_signature(tmp_path: Path) -> None:
    assert signature("resnet50.a1_in1k") == ()
    (tmp_path / "w.safetensors").write_bytes(b"x")
    assert signature(str(tmp_path / "w.safetensors"))[0][:2] == (str(tmp_path / "w.safetensors"), 1)
