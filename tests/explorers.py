"""The explorer's server for tests: in a thread of this process, or started by its command."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="needs the extra explore")
pytest.importorskip("starlette", reason="needs the extra explore")

import uvicorn

from measure.explore import command, server
from measure.explore.served import Served
from measure.explore.turns import Turns


class Running:
    """The server in a thread, as `measure explore` starts it."""

    def __init__(self, models: Sequence[Served], token: str, port: int = 0) -> None:
        self.turns, self.bound, self.token = Turns(), command.opened(port), token
        self.turns.start()
        self.port = self.bound.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/{token}/"
        app = server.application(models, token, self.turns)
        config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.bound]}, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    def end(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        self.turns.close()
        self.bound.close()

    @contextmanager
    def asked(self, path: str, content: dict[str, Any]) -> Iterator[http.client.HTTPResponse]:
        """An answer that has begun; the client goes away at the end."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(connection):
            connection.request("POST", f"/{self.token}/{path}", json.dumps({"client": "me", **content}))
            with closing(connection.getresponse()) as answer:
                yield answer

    def events(self, path: str, content: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What comes back, as it comes."""
        with self.asked(path, content) as answer:
            assert answer.status == 200, answer.read()
            for line in answer:
                yield json.loads(line)


class Started:
    """`measure explore` in a process of its own, whose kept files lie in `cache`."""

    def __init__(self, cache: Path, *arguments: str) -> None:
        code = "import sys; from measure import cli; sys.exit(cli.main(sys.argv[1:]))"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "explore", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://127.0.0.1:")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
