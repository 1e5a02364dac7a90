"""Settings are read once, the environment over the file, and say which one is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from common import errors
from hub import settings


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text('port = 9000\nmail_mailbox = "conv@fichier.example"\n')
    read = settings.read({"HUB_PORT": "9100", "HUB_DEMO": "yes"}, file)
    assert (read.port, read.mail_mailbox, read.mail_domain, read.demo) == (
        9100,
        "conv@fichier.example",
        "fichier.example",
        True,
    )
    assert read.mllp_port == 2575


@pytest.mark.parametrize(("name", "value"), [("HUB_PORT", "many"), ("HUB_DEMO", "perhaps")])
def test_a_value_that_cannot_be_understood_names_its_setting(name: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(errors.Unreadable) as refused:
        settings.read({name: value}, tmp_path / "none.toml")
    assert refused.value.at == name.removeprefix("HUB_").lower()


def test_a_setting_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text("prot = 1\n")
    with pytest.raises(errors.Unreadable, match="prot"):
        settings.read({}, file)
