"""The command `measure explore`: loads the models named, opens a port of this machine, and says the page's address."""

from __future__ import annotations

import argparse
import logging
import socket
from importlib.util import find_spec
from typing import Any

from measure.spec import PRECISIONS, MeasureError

TEXT = (
    "Open a page in the browser on models of yours: type two prompts and see the curve, all layers, a slice, where the "
    "pair stands among random ones; collect pairs, and make a suite of them. Served to this machine alone."
)
EXAMPLE = "measure explore smollm2-135m-instruct\n  measure explore ladder-olmo-0.2m ladder-qwen2-0.2m --port 0"
PORT = 8899
MOST_MODELS = 8


def add_options(command: argparse.ArgumentParser) -> None:
    """What `measure explore` takes."""
    command.add_argument("models", nargs="+", metavar="MODEL", help="catalog names, folders or hub ids; each has a tab")
    command.add_argument("--port", type=int, default=PORT, help=f"port on 127.0.0.1; 0 for a free one (default {PORT})")
    command.add_argument(
        "--new-address",
        action="store_true",
        help="another address than this port's last start had, whose pages then end",
    )
    command.add_argument("--precision", choices=PRECISIONS, default="float32", help="computed in (default float32)")
    command.add_argument("--allow-pickle", action="store_true", help="load pickled weights if there are no safetensors")


def run(options: argparse.Namespace) -> int:
    """Serve until a signal. Raises `MeasureError` where the extra is not installed, and for a port that is taken."""
    for package in ("starlette", "uvicorn"):
        if find_spec(package) is None:
            raise MeasureError(
                f"the explorer needs {package}, which is not installed: pip install 'stable-regions[explore]'."
            )
    if len(options.models) > MOST_MODELS:
        raise MeasureError(f"{len(options.models)} models given; the page takes {MOST_MODELS}, each held in memory.")
    # Before a model is loaded.
    with opened(options.port) as bound:
        _serve(options, bound)
    return 0


def opened(port: int) -> socket.socket:
    """A socket on 127.0.0.1. Raises `MeasureError` for a port that is none, or taken."""
    if not 0 <= port < 65536:
        raise MeasureError(f"--port {port}: expected a number from 1 to 65535, or 0 for a free one.")
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        # Now, so that two that start at once do not both think it theirs.
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise MeasureError(
            f"--port {port} cannot be opened on 127.0.0.1 ({error.strerror}); end what uses it, or give another, 0 for "
            "a free one."
        ) from error
    return bound


def _serve(options: argparse.Namespace, bound: socket.socket) -> None:
    import uvicorn

    from measure.explore import addresses, computing, server
    from measure.explore.served import served
    from measure.explore.turns import BACKGROUND, Job, Turns

    models = [
        served(name, precision=options.precision, allow_pickle=options.allow_pickle)
        for name in dict.fromkeys(options.models)
    ]
    # From here on each look would be a line.
    logging.getLogger("measure").setLevel(logging.WARNING)
    token, turns = addresses.token(options.port, anew=options.new_address), Turns()
    turns.start()
    for number, model in enumerate(models):
        turns.add(Job(f"start{number}", BACKGROUND, computing.warmed(model), _nobody))
    config = uvicorn.Config(
        server.application(models, token, turns), log_level="warning", access_log=False, lifespan="off", ws="none",
        loop="asyncio", http="h11", server_header=False, timeout_graceful_shutdown=1,
        limit_concurrency=256,
    )  # fmt: skip
    print(f"http://127.0.0.1:{bound.getsockname()[1]}/{token}/", flush=True)
    print("Open this address in a browser on this machine, or go on in a page of it; Ctrl-C ends it.", flush=True)
    try:
        uvicorn.Server(config).run(sockets=[bound])
    finally:
        turns.close()


def _nobody(event: Any) -> None:
    """Nobody waits for what is checked before the first question."""
