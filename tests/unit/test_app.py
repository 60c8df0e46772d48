"""What every script does before its own work."""

import os

import pytest

from medsynth.app import guarded


@pytest.mark.parametrize(("own", "level"), [(None, "1"), ("0", "0"), ("3", "3")])
def test_tensorflow_shows_warnings_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, own: str | None, level: str
) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", own or "")
    if own is None:
        monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    found = []
    with pytest.raises(SystemExit):
        guarded("script", lambda: found.append(os.environ["TF_CPP_MIN_LOG_LEVEL"]))
    assert found == [level]
