"""What the doctor finds, and how it is shown."""

from __future__ import annotations

import json

from umbel.cli.findings import as_json, fail, failed, ok, show, warn

ALL = [
    ok("python", "3.11"),
    warn("clock", "2 s behind", "run NTP"),
    fail("app", "no module\nTraceback\n  line", "correct -A\nor the module"),
]


def test_only_a_failure_fails():
    assert failed(ALL)
    assert not failed(ALL[:2])


def test_lines_with_advice_below(capsys):
    show(ALL, color=False)
    assert capsys.readouterr().out.splitlines() == [
        "ok   python: 3.11",
        "warn clock: 2 s behind",
        "     > run NTP",
        "fail app: no module",
        "       Traceback",
        "         line",
        "     > correct -A",
        "     > or the module",
        "",
        "1 ok, 1 to look at, 1 failed",
    ]


def test_quiet_leaves_out_what_is_well(capsys):
    show(ALL, color=False, quiet=True)
    assert "python" not in capsys.readouterr().out


def test_colors(capsys):
    show(ALL[:1], color=True)
    assert "\x1b[32mok" in capsys.readouterr().out


def test_json():
    document = json.loads(as_json(ALL))
    assert document["ok"] is False
    assert document["findings"][1] == {
        "level": "warn",
        "subject": "clock",
        "detail": "2 s behind",
        "advice": "run NTP",
    }
