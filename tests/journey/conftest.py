from collections.abc import Callable

import pytest

from deepres.cli.main import run as deepres_command


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command; its stdout, or of one that is refused its stderr."""

    def say(*words: object, code: int = 0) -> str:
        capsys.readouterr()
        assert deepres_command([str(word) for word in words]) == code, capsys.readouterr().err
        return capsys.readouterr()[0 if code == 0 else 1]

    return say
