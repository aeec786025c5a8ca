"""A real `mlflow server`, and a way to it that may be broken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def wait_for(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


class Server:
    """A real `mlflow server` that can be stopped and started again on the same port."""

    def __init__(self, database: Path, port: int) -> None:
        self.uri = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        self._command += ["--backend-store-uri", f"sqlite:///{database}", "--port", str(port)]
        self._command += ["--artifacts-destination", str(database.parent / "artifacts")]
        self._folder = database.parent
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=os.environ | quiet,
                start_new_session=True,
            )
        wait_for(self._answers, timeout_s=60)

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            return bool(urllib.request.urlopen(f"{self.uri}/health", timeout=1).status == 200)
        except OSError:
            return False


class Way:
    """Passes calls on to a server; those whose path ``breaks`` holds for get a 500."""

    def __init__(self, server: str, port: int) -> None:
        self.uri = f"http://127.0.0.1:{port}"
        self.breaks: Callable[[str], bool] = lambda path: False
        way = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size) if size else None
                status, text = 500, b"broken"
                if not way.breaks(self.path):
                    status, text = way.passed_on(server, self, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815  # as http.server asks

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @staticmethod
    def passed_on(
        server: str, call: BaseHTTPRequestHandler, body: bytes | None
    ) -> tuple[int, bytes]:
        wanted = {k: v for k, v in call.headers.items() if k in {"Content-Type", "Authorization"}}
        request = urllib.request.Request(server + call.path, body, wanted, method=call.command)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
