"""Ctrl-C and SIGTERM end every command in one line, whatever it is in the middle of."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from measure import cli
from measure.base import signals
from measure.commands import models

START = """
import os, signal, sys, threading, time
from measure import cli
from measure.commands import curve
def stop():
    os.kill(os.getpid(), signal.{name})
    time.sleep(60)
{body}
sys.exit(cli.main({arguments!r}))
"""
CURVE = ["curve", "ladder-olmo-0.2m", " a", " b"]
BODIES = {
    "in a command": "curve.run = lambda _: stop()",
    # What a library makes of it does not count.
    "turned into another error": """
def run(_):
    try:
        stop()
    except BaseException:
        raise ImportError("half loaded")
curve.run = run""",
    "swallowed": """
def run(_):
    try:
        stop()
    except BaseException:
        time.sleep(60)
curve.run = run""",
    "while a library is imported": """
import pathlib, tempfile
folder = tempfile.mkdtemp()
pathlib.Path(folder, "slow_library.py").write_text("import __main__; __main__.stop()")
sys.path.insert(0, folder)
curve.run = lambda _: __import__("slow_library")""",
    "beside a thread that goes on": """
def run(_):
    threading.Thread(target=time.sleep, args=(60,)).start()
    stop()
curve.run = run""",
    "with its output captured": """
import contextlib, io
def run(_):
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        stop()
curve.run = run""",
}


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_signal_is_one_line(body: str, name: str, status: int) -> None:
    code = START.format(name=name, body=body, arguments=CURVE)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    told = {"SIGINT": "Ctrl-C", "SIGTERM": "SIGTERM"}[name]
    assert ended.stderr == f"measure: stopped by {told}; what was finished is kept.\n"
    assert (ended.returncode, ended.stdout) == (status, "")


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    hook = sys.unraisablehook
    with signals.heard() as heard:
        assert signal.getsignal(signal.SIGTERM) == heard.take
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert sys.unraisablehook is hook


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/x/y"), "/x/y cannot be read or written (No space left on device)"),
        (PermissionError(13, "Permission denied", "/x\x1b"), "/x\\x1b cannot be read or written (Permission denied)"),
        (MemoryError(), "the machine has no memory left"),
    ],
)
def test_what_the_machine_denies_is_one_sentence(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: object) -> int:
        raise error

    monkeypatch.setattr(models, "run", fails)
    assert cli.main(["models"]) == 2
    assert capsys.readouterr().err.startswith(f"measure: {said}")


def test_a_defect_is_told_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "run", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["models"])


def test_a_reader_that_has_enough_is_no_error() -> None:
    code = "import sys; from measure import cli; sys.exit(cli.main(['models', '--json']))"
    command = f'{sys.executable} -c "{code}" | head -c 10; exit ${{PIPESTATUS[0]}}'
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=50, check=False)
    assert ended.stderr == ""
