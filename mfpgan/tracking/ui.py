"""MLflow's own web page on the store of the runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from types import FrameType

from mfpgan.tracking.mlflow_client import shown_uri
from mfpgan.tracking.mlflow_store import (
    StoreError,
    artifact_folder,
    is_server,
    open_store,
    store_exists,
    store_uri,
)
from mfpgan.types import InputError


def ui_command(host: str = "127.0.0.1", port: int = 5000) -> tuple[list[str], dict[str, str]]:
    """The command that serves the page, and its whole environment: one worker, no job queue, no telemetry.

    Raises:
        InputError: there is no store yet, or it is a server that has its own page.
    """
    uri = store_uri()
    if is_server(uri):
        raise InputError(f"the runs are on the server {shown_uri(uri)}; open that address in a browser.")
    if not store_exists(uri):
        raise InputError(
            f"no MLflow store at {shown_uri(uri)} yet; train first (`mfpgan train`), or go to the folder of the runs."
        )
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    artifacts = artifact_folder(uri)
    if artifacts:
        command += ["--artifacts-destination", str(artifacts)]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    return command, {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def runs_page(host: str = "127.0.0.1", port: int = 5000) -> str:
    """Address of the charts of all runs on the page that `open_ui` serves; its front door shows language models.

    Raises:
        InputError: as for ui_command.
    """
    ui_command(host, port)
    try:
        store = open_store()
        number = store.experiment_id() if store else None
    except StoreError as error:
        raise InputError(f"the MLflow store cannot be read ({error}).") from None
    place = (
        f"experiments/{number}/runs?compareRunsMode=CHART&workflowType=machine_learning" if number else "experiments"
    )
    return f"http://{host}:{port}/#/{place}"


def open_ui(host: str = "127.0.0.1", port: int = 5000) -> int:
    """Serve the page until Ctrl-C; the server's exit code, 0 after Ctrl-C.

    Raises:
        InputError: as for ui_command, or the port is taken.
    """
    command, environment = ui_command(host, port)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a page closed a moment ago does not count
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(f"{host}:{port} cannot be used ({error.strerror}); choose another --port.") from None
    before = signal.signal(signal.SIGTERM, _leave)
    server = subprocess.Popen(command, env=environment)
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()  # MLflow passes it on to its worker
        server.wait()
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, frame: FrameType | None) -> None:
    """Unwind instead of dying on the spot, which would leave the server running."""
    sys.exit(128 + number)
