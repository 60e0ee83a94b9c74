"""A model repository on Hugging Face, or on a mirror that speaks its API, through ``huggingface_hub``.

The client sends large files in parts where the hub offers it (Xet), asks which parts are there already, and shows its
own progress; every file is a commit of its own, so that an interrupted run keeps what it finished.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from bundle.log import Log
from bundle.release.files import ReleaseFile
from bundle.release.stores import CHUNK_BYTES, Stored, from_environment, refused


class HuggingFaceStore:
    """The top folder of ``repo``'s main branch."""

    largest_bytes: int | None = None

    def __init__(self, repo: str, log: Log) -> None:
        self.address = f"hf:{repo}"
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        self.folder_url = f"{endpoint}/{repo}/resolve/main/"
        how = "a token with write access to the repository, from the site's settings"
        self._token = from_environment("HF_TOKEN", address=self.address, how=how)
        self._repo = repo
        from huggingface_hub import HfApi
        from huggingface_hub.utils import disable_progress_bars

        if not log.is_terminal:
            disable_progress_bars()
        self._api = HfApi(endpoint=endpoint, token=self._token)

    def files(self) -> dict[str, Stored]:
        from huggingface_hub.hf_api import RepoFile

        with self._explained():
            entries = list(self._api.list_repo_tree(self._repo))
        # Files small enough for git itself come without a sha256 and are read for comparison.
        return {
            entry.path: Stored(size_bytes=entry.size, sha256=entry.lfs.sha256 if entry.lfs else "")
            for entry in entries
            if isinstance(entry, RepoFile)
        }

    def put(self, file: ReleaseFile, path: Path) -> None:
        with self._explained():
            self._api.upload_file(
                path_or_fileobj=str(path),
                path_in_repo=file.name,
                repo_id=self._repo,
                commit_message=f"Upload {file.name}",
            )

    def read(self, file: ReleaseFile, *, accepted: bool) -> Iterator[bytes]:
        from oneclick.download.transport import make_session

        headers = {"Authorization": f"Bearer {self._token}"}  # not sent on to another host by requests
        with (
            self._explained(),
            make_session(follow=True) as session,
            session.get(self.folder_url + quote(file.name), headers=headers, stream=True, timeout=60) as answer,
        ):
            answer.raise_for_status()
            yield from answer.iter_content(CHUNK_BYTES)

    def accept(self, file: ReleaseFile) -> None:
        """Nothing: a commit has the file under its name."""

    def remove(self, file: ReleaseFile) -> None:
        with self._explained():
            self._api.delete_file(file.name, self._repo, commit_message=f"Remove a damaged {file.name}")

    def close(self) -> None:
        from huggingface_hub.utils import close_session

        close_session()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the client raises into BundleError."""
        import httpx2
        import requests
        from huggingface_hub.errors import HfHubHTTPError

        try:
            yield
        except HfHubHTTPError as error:
            said = error.server_message or str(error).partition("\n")[0]
            raise self._refused(error.response.status_code, said) from error
        except requests.HTTPError as error:
            raise self._refused(error.response.status_code, error) from error
        except (requests.RequestException, httpx2.HTTPError, OSError, ValueError, RuntimeError) as error:
            # ValueError: the hub's LFS part refused the file; RuntimeError: the storage behind it did.
            answer = getattr(error.__cause__, "response", None)
            raise self._refused(getattr(answer, "status_code", None), error) from error

    def _refused(self, status: int | None, said: object) -> Exception:
        return refused(self.address, status, said, token="HF_TOKEN", secrets=(self._token,))
