"""A package index on this machine: tiny wheels named like the real ones, over HTTP, with faults to order."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.paths import ROOT

REAL_UV = ROOT / ".venv-uv" / "bin" / "uv"
UV_VERSION = (ROOT / "backend" / "requirements" / "uv.txt").read_text().split()[0].partition("==")[2]


def wheel(name: str, version: str, files: dict[str, bytes]) -> tuple[str, bytes]:
    """File name and content of a wheel; files below `NAME-VERSION.data/scripts` become programs."""
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(content)}\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}.items():
            entry = zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, content)
    return f"{name}-{version}-py3-none-any.whl", buffer.getvalue()


class StubIndex:
    """Serves /simple/NAME/ and the files.

    Attributes:
        held: names whose file is only sent in half, until `release`.
        corrupt: names whose file arrives with other bytes; `cut`: whose connection breaks in the middle.
        asked: set when half of a held file has been sent.
    """

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.corrupt: set[str] = set()
        self.cut: set[str] = set()
        self.asked = threading.Event()
        self._files: dict[str, tuple[str, bytes]] = {}
        self._go_on = threading.Event()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index._answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/simple"

    def close(self) -> None:
        """Stop serving: from here on the connection is refused."""
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def release(self) -> None:
        """Send the rest of what is held, now and later."""
        self.held.clear()
        self._go_on.set()

    def add(self, name: str, version: str, files: dict[str, bytes]) -> None:
        """Publish a wheel."""
        file, content = wheel(name, version, files)
        self._files[file] = (name, content)

    def remove(self, name: str) -> None:
        """Take a package off the index."""
        self._files = {file: entry for file, entry in self._files.items() if entry[0] != name}

    def pin(self, name: str, version: str) -> str:
        """Its lines in a lock."""
        content = self._files[f"{name}-{version}-py3-none-any.whl"][1]
        return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(content).hexdigest()}\n"

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        kind, _, name = request.path.strip("/").partition("/")
        if kind == "simple":
            files = [file for file, (package, _) in self._files.items() if package == name]
            links = "".join(f'<a href="/files/{file}">{file}</a>' for file in files)
            self._send(request, 200 if files else 404, f"<!DOCTYPE html><html><body>{links}</body></html>".encode())
        elif name in self._files:
            package, content = self._files[name]
            if package in self.corrupt:
                content = content[:-100] + bytes(100)
            self._send(request, 200, content, package)
        else:
            self._send(request, 404, b"")

    def _send(self, request: BaseHTTPRequestHandler, status: int, content: bytes, package: str = "") -> None:
        request.send_response(status)
        request.send_header("Content-Type", "application/octet-stream" if package else "text/html")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command == "HEAD":
            return
        half = len(content) // 2 if package in self.held | self.cut else 0
        request.wfile.write(content[:half])
        request.wfile.flush()
        if package in self.held:
            self.asked.set()
            self._go_on.wait()
        if package not in self.cut:
            request.wfile.write(content[half:])
        else:
            request.close_connection = True


LAUNCH = """
import importlib.metadata, pathlib, sys
fault = pathlib.Path(__file__).with_name("fault.txt")
fault = fault.read_text() if fault.exists() else ""
import numba, torch
print("device: CPU of a test; torch", torch.__version__)
for step in range(2):
    print(f"preparing (once): {step} of 2", flush=True)
    if fault == "hang":
        sys.stdin = None
        import threading; threading.Event().wait()
if fault:
    sys.exit(fault)
"""
"""In the place of backend/launch.py: uses the stand-ins for torch and numba; `fault.txt` beside it makes it fail."""


def publish(index: StubIndex, torch: str) -> str:
    """Publish uv and a backend with this version of torch; returns the lock. torch is large enough to be told."""
    index.add("uv", UV_VERSION, {f"uv-{UV_VERSION}.data/scripts/uv": f'#!/bin/sh\nexec "{REAL_UV}" "$@"\n'.encode()})
    bulk = random.Random(torch).randbytes(4 * 2**20)
    index.add("torch", torch, {"torch/__init__.py": f"__version__ = {torch!r}\n".encode(), "torch/bulk.bin": bulk})
    index.add("numba", "1.0", {"numba.py": b"__version__ = '1.0'\n"})
    index.add("gsplat", "1.0", {"gsplat.py": b""})
    return index.pin("torch", torch) + index.pin("numba", "1.0") + index.pin("gsplat", "1.0")
