"""A wrong option of a command gets one line that names it and the nearest right one."""

from __future__ import annotations

import pytest

from carps_like.cli import main

LINES = {
    "subset r --k 3 --spaning x": "subset: unknown option '--spaning'; did you mean '--",
    "tasks --colection bbob": "unknown option '--colection'; did you mean '--collection'?",
    "status r --wach": "unknown option '--wach'; did you mean '--watch'",
    "report r --zzz=3": "unknown option '--zzz'; see carps-like report --help",
    "run --config-dri x optimizer=random": "option '--config-dri'; did you mean '--config-dir'",
    "plan --jsn optimizer=random": "unknown option '--jsn'; did you mean '--json'",
    "submit --multrun optimizer=random": "option '--multrun'; did you mean '--multirun'",
    "merge": "the following arguments are required",
}


@pytest.mark.parametrize("words", LINES)
def test_a_wrong_option_gets_one_line(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(words.split())
    except SystemExit as stopped:
        code = stopped.code  # type: ignore[assignment]
    err = capsys.readouterr().err
    assert code == 2
    assert LINES[words] in err
    assert err.count("\n") == 1
