"""A model repository on ModelScope, through ``modelscope_hub``, the hub client of the ``modelscope`` library.

The client asks which contents the hub holds already and sends only others; every file is a commit of its own, so that
an interrupted run keeps what it finished.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bundle.log import Log
from bundle.release.files import ReleaseFile
from bundle.release.stores import CHUNK_BYTES, Stored, from_environment, refused

KIND = "model"
"""Of the hub's kinds of repository the one whose files have plain download addresses."""


class ModelScopeStore:
    """The top folder of ``repo``'s master branch."""

    largest_bytes: int | None = None

    def __init__(self, repo: str, log: Log) -> None:
        self.address = f"modelscope:{repo}"
        endpoint = os.environ.get("MODELSCOPE_ENDPOINT", "https://modelscope.cn").rstrip("/")
        self.folder_url = f"{endpoint}/models/{repo}/resolve/master/"
        how = "an access token from the account's page on the site"
        self._token = from_environment("MODELSCOPE_API_TOKEN", address=self.address, how=how)
        self._repo, self._log = repo, log
        from modelscope_hub import HubApi
        from modelscope_hub.config import HubConfig

        # The client writes an id of this installation into its folder: one that goes with this run.
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        home = Path(self._home.name)
        config = HubConfig(endpoint=endpoint, token=self._token, config_dir=home, cache_dir=home)
        self._api = HubApi(config)

    def files(self) -> dict[str, Stored]:
        with self._explained():
            entries = self._api.list_repo_files(self._repo, KIND, recursive=False)
        return {
            entry.path: Stored(size_bytes=entry.size or 0, sha256=entry.sha256 or "")
            for entry in entries
            if entry.type == "blob"
        }

    def put(self, file: ReleaseFile, path: Path) -> None:
        # The client tells of its commit on stdout, which is for results.
        with self._explained(), contextlib.redirect_stdout(io.StringIO()):
            self._api.upload_file(
                self._repo,
                KIND,
                str(path),
                file.name,
                commit_message=f"Upload {file.name}",
                disable_tqdm=not self._log.is_terminal,
            )

    def read(self, file: ReleaseFile, *, accepted: bool) -> Iterator[bytes]:
        with (
            self._explained(),
            contextlib.closing(self._api.legacy.download_stream(self._repo, KIND, file.name)) as answer,
        ):
            yield from answer.iter_content(CHUNK_BYTES)

    def accept(self, file: ReleaseFile) -> None:
        """Nothing: a commit has the file under its name."""

    def remove(self, file: ReleaseFile) -> None:
        with self._explained():
            self._api.delete_files(self._repo, KIND, [file.name], commit_message=f"Remove a damaged {file.name}")

    def close(self) -> None:
        self._home.cleanup()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the client raises into BundleError."""
        import requests
        from modelscope_hub.errors import APIError, HubError

        try:
            yield
        except APIError as error:
            raise self._refused(error.status_code, error.message) from error
        except (HubError, requests.RequestException, OSError) as error:
            raise self._refused(None, error) from error

    def _refused(self, status: int | None, said: object) -> Exception:
        return refused(self.address, status, said, token="MODELSCOPE_API_TOKEN", secrets=(self._token,))
