"""A real WebDAV server, wsgidav on cheroot, over a folder; only its faults are ours."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from cheroot.wsgi import Server
from wsgidav.fs_dav_provider import FileResource, FilesystemProvider
from wsgidav.wsgidav_app import WsgiDAVApp

from tests.bundle.release.hosts.host import TOKEN, Faults, Host, running

UNFINISHED = ".part"


class Body:
    """An upload's body with the faults that were asked for."""

    def __init__(self, stream: Any, faults: Faults) -> None:
        self.stream, self.faults, self.done = stream, faults, 0

    def read(self, size: int = -1) -> bytes:
        hold, cut = self.faults.hold_after_bytes, self.faults.cut_after_bytes
        limit = hold if hold is not None else cut
        if limit is None:
            return self.stream.read(size)
        if self.done >= limit:
            if hold is not None:
                self.faults.held.set()
                self.faults.go_on.wait()
            raise ConnectionError("cut")
        wanted = limit - self.done
        data = self.stream.read(min(size, wanted) if size >= 0 else wanted)
        self.done += len(data)
        return data


class ClosedInTheEnd(FileResource):
    """A file that is closed when an upload to it breaks off; wsgidav leaves that to the garbage collector."""

    def begin_write(self, **kinds: Any) -> Any:
        self.opened = super().begin_write(**kinds)
        return self.opened

    def end_write(self, *, with_errors: bool) -> None:
        if with_errors:
            self.opened.close()


class Provider(FilesystemProvider):
    def get_resource_inst(self, path: str, environ: dict[str, Any]) -> Any:
        found = super().get_resource_inst(path, environ)
        if isinstance(found, FileResource):
            found.__class__ = ClosedInTheEnd
        return found


class WebDavHost(Host):
    environment: ClassVar = {"WEBDAV_USER": "me", "WEBDAV_PASSWORD": TOKEN}

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.releases = folder / "a" / "release"
        config = {
            "provider_mapping": {"/": Provider(str(folder))},
            "simple_dc": {"user_mapping": {"*": {"me": {"password": TOKEN}}}},
            "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
            "verbose": 0,
            "logging": {"enable": False},
            "lock_storage": False,
            "property_manager": False,
            "hotfixes": {},
        }
        self.app = WsgiDAVApp(config)

    @property
    def target(self) -> str:
        return f"webdav:{self.url}/a/release/"

    @property
    def files(self) -> dict[str, bytes]:
        if not self.releases.is_dir():
            return {}
        return {path.name: path.read_bytes() for path in self.releases.iterdir() if path.suffix != UNFINISHED}

    @files.setter
    def files(self, value: dict[str, bytes]) -> None:
        assert value == {}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method, name = environ["REQUEST_METHOD"], environ["PATH_INFO"].rpartition("/")[2]
        name = name.removesuffix(UNFINISHED)
        status = self.faults.status or (self.faults.upload_status if method == "PUT" else 0)
        if status:
            start_response(f"{status} refused by the test", [("Content-Length", "0")])
            return [b""]
        if method == "PUT":
            environ["wsgi.input"] = Body(environ["wsgi.input"], self.faults)
        if method == "GET" and name in self.faults.spoiled:
            path = self.folder / environ["PATH_INFO"].strip("/")
            data = path.read_bytes()
            path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        if method == "MOVE":
            self.uploads.append(name)
        return self.app(environ, start_response)


@contextlib.contextmanager
def serving_webdav(folder: Path) -> Iterator[WebDavHost]:
    host = WebDavHost(folder)
    server = Server(("127.0.0.1", 0), host, numthreads=4)
    server.prepare()
    with running(host, server.bind_addr[1], server.serve, server.stop):
        yield host
