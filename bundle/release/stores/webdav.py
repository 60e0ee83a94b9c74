"""A WebDAV folder, as netdisks (123pan, Jianguoyun, Nextcloud ...) and web servers offer it, through ``webdav4``.

WebDAV has no uploads in parts and tells no digests, and many servers keep what arrived of an upload that broke off. So
a file is sent under a name of its own, read back, and only then moved to its name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from bundle.log import Log
from bundle.release.files import ReleaseFile
from bundle.release.stores import CHUNK_BYTES, Stored, from_environment, refused

UNFINISHED = ".part"
TIMEOUT_S = 300
"""A netdisk may store a whole file before it answers."""
NO_SUCH_PARENT, IS_THERE = 409, 405
"""RFC 4918, 9.3.1: what MKCOL answers."""


class WebDavStore:
    """The folder at ``url``; it is made where it does not exist yet."""

    largest_bytes: int | None = None

    def __init__(self, url: str, log: Log) -> None:
        self.address = f"webdav:{url}"
        self.folder_url = url
        how = "the account's name, and WEBDAV_PASSWORD: the password for apps that the netdisk's settings give"
        user = from_environment("WEBDAV_USER", address=self.address, how=how)
        self._password = from_environment("WEBDAV_PASSWORD", address=self.address, how="of WEBDAV_USER")
        self._log = log
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            log.warn(f"{self.address} is not encrypted: others on the way can read WEBDAV_PASSWORD")
        from webdav4.client import Client

        self._client = Client(url, auth=(user, self._password), retry=False, timeout=TIMEOUT_S)

    def files(self) -> dict[str, Stored]:
        with self._explained():
            if not self._client.exists(""):
                self._make_folder(self.folder_url)
            entries = self._client.ls("", detail=True)
        found = {}
        for entry in entries:
            if isinstance(entry, dict) and entry.get("type") == "file":
                found[str(entry["name"])] = Stored(size_bytes=int(entry.get("content_length") or 0))
        return found

    def put(self, file: ReleaseFile, path: Path) -> None:
        sent = 0
        with self._explained(), path.open("rb") as stream, self._log.bar(file.name, file.size_bytes) as bar:

            def count(length: int) -> None:
                nonlocal sent
                sent += length
                bar.at(sent)

            self._client.upload_fileobj(
                stream,
                file.name + UNFINISHED,
                overwrite=True,
                callback=count,
                chunk_size=CHUNK_BYTES,
                size=file.size_bytes,
            )

    def read(self, file: ReleaseFile, *, accepted: bool) -> Iterator[bytes]:
        name = file.name if accepted else file.name + UNFINISHED
        with self._explained(), self._client.open(name, mode="rb", chunk_size=CHUNK_BYTES) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                assert isinstance(chunk, bytes)
                yield chunk

    def accept(self, file: ReleaseFile) -> None:
        with self._explained():
            self._client.move(file.name + UNFINISHED, file.name, overwrite=True)

    def remove(self, file: ReleaseFile) -> None:
        with self._explained():
            self._client.remove(file.name + UNFINISHED)

    def _make_folder(self, url: str) -> None:
        """Make the folder at ``url`` with the folders above it that are missing."""
        status = self._client.http.request("MKCOL", url).status_code
        if status == NO_SUCH_PARENT and urlsplit(url).path.strip("/"):
            self._make_folder(url.rstrip("/").rpartition("/")[0] + "/")
            status = self._client.http.request("MKCOL", url).status_code
        if status >= 400 and status != IS_THERE:
            raise self._refused(status, "the folder cannot be made")

    def close(self) -> None:
        self._client.http.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the client raises into BundleError."""
        import httpx
        from webdav4.client import ClientError, HTTPError, InsufficientStorage, ResourceNotFound
        from webdav4.multistatus import MultiStatusResponseError

        try:
            yield
        except HTTPError as error:
            raise self._refused(error.status_code, error) from error
        except InsufficientStorage as error:
            raise self._refused(507, error) from error
        except ResourceNotFound as error:
            raise self._refused(404, error) from error
        except httpx.HTTPStatusError as error:
            raise self._refused(error.response.status_code, error) from error
        except (ClientError, MultiStatusResponseError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise self._refused(None, error) from error

    def _refused(self, status: int | None, said: object) -> Exception:
        token = "WEBDAV_USER and WEBDAV_PASSWORD"
        return refused(self.address, status, said, token=token, secrets=(self._password,))
