"""The assets of a GitHub release, through ``PyGithub``.

GitHub takes an asset in one piece. One that broke off stays as an asset that is not ``uploaded``; it is removed before
the file is sent again. Where the tag has no release yet, a draft is made: a person looks at it and publishes it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bundle.errors import UploadError, UsageError
from bundle.log import Log
from bundle.release.files import ReleaseFile
from bundle.release.stores import CHUNK_BYTES, Stored, from_environment, refused

if TYPE_CHECKING:
    from github import Github
    from github.GitRelease import GitRelease
    from github.GitReleaseAsset import GitReleaseAsset
    from github.Repository import Repository

LARGEST_BYTES = (2 << 30) - 1
"""Every asset must be under 2 GiB: https://docs.github.com/en/repositories/releasing-projects-on-github/about-releases"""
TIMEOUT_S = 300
SECONDS_BETWEEN_REQUESTS, SECONDS_BETWEEN_WRITES = 0.25, 1.0
"""What GitHub asks for: https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api"""
NOTES = ("release-notes.zh.md", "release-notes.en.md")
UPLOADED = "uploaded"
"""State of an asset that arrived whole."""


class GitHubStore:
    """The release of ``tag`` in ``repo``; its notes are those in ``folder``."""

    largest_bytes: int | None = LARGEST_BYTES

    def __init__(self, repo: str, tag: str, folder: Path, log: Log) -> None:
        self.address = f"github:{repo}@{tag}"
        self.folder_url = f"https://github.com/{repo}/releases/download/{tag}/"
        how = "a fine-grained token with 'Contents: write', or the workflow's own"
        self._token = from_environment("GITHUB_TOKEN", "GH_TOKEN", address=self.address, how=how)
        self._repo_name, self._tag, self._folder, self._log = repo, tag, folder, log
        self._api: Github | None = None
        self._release: GitRelease | None = None
        self._assets: dict[str, GitReleaseAsset] = {}

    def files(self) -> dict[str, Stored]:
        from github import Auth, Github

        with self._explained():
            self._api = Github(
                auth=Auth.Token(self._token),
                base_url=os.environ.get("GITHUB_API_URL", "https://api.github.com").rstrip("/"),
                timeout=TIMEOUT_S,
                retry=None,  # a body that was read to its end cannot be sent again
                seconds_between_requests=SECONDS_BETWEEN_REQUESTS,
                seconds_between_writes=SECONDS_BETWEEN_WRITES,
            )
            repo = self._api.get_repo(self._repo_name)
            # A draft is only found in the list: the address by tag knows published ones.
            found = next((release for release in repo.get_releases() if release.tag_name == self._tag), None)
            self._release = found or self._draft(repo)
            self._assets = {asset.name: asset for asset in self._release.get_assets()}
        return {name: _stored(asset) for name, asset in self._assets.items() if asset.state == UPLOADED}

    def put(self, file: ReleaseFile, path: Path) -> None:
        from tqdm.utils import CallbackIOWrapper

        assert self._release is not None, "files() comes first"
        sent = 0
        with self._explained(), path.open("rb") as stream, self._log.bar(file.name, file.size_bytes) as bar:
            if older := self._assets.pop(file.name, None):
                older.delete_asset()

            def count(length: int) -> None:
                nonlocal sent
                sent += length
                bar.at(sent)

            asset = self._release.upload_asset_from_memory(
                CallbackIOWrapper(count, stream, "read"), file.size_bytes, file.name
            )
        self._assets[file.name] = asset
        if asset.name != file.name:
            self.remove(file)
            raise UploadError(
                f"{self.address} calls {file.name} {asset.name!r}",
                why="GitHub changes names it does not like; links and SHA256SUMS would not fit",
                do="give the file a name of ASCII letters, digits, dots, hyphens and underscores",
            )

    def read(self, file: ReleaseFile, *, accepted: bool) -> Iterator[bytes]:
        import requests

        with self._explained():
            _, _, chunks = self._assets[file.name].download_asset(chunk_size=CHUNK_BYTES)
            try:
                yield from chunks
            except requests.RequestException as error:
                raise self._refused(None, error) from error

    def accept(self, file: ReleaseFile) -> None:
        """Nothing: an asset has its name from the start."""

    def remove(self, file: ReleaseFile) -> None:
        with self._explained():
            self._assets.pop(file.name).delete_asset()

    def _draft(self, repo: Repository) -> GitRelease:
        """Make the draft of a release for a tag that exists."""
        from github import UnknownObjectException

        try:
            repo.get_git_ref(f"tags/{self._tag}")
        except UnknownObjectException as error:
            raise UsageError(
                f"{self._repo_name} has no tag {self._tag}",
                why="a release belongs to a tag, which says which source it was built from",
                do=f"push it first: git tag {self._tag} && git push origin {self._tag}",
            ) from error
        notes = [self._folder / name for name in NOTES]
        text = "\n".join(path.read_text(encoding="utf-8") for path in notes if path.is_file())
        self._log.line(f"{self._tag} has no release yet: making a draft, which you publish on GitHub")
        return repo.create_git_release(self._tag, self._tag, text, draft=True)

    def close(self) -> None:
        if self._api:
            self._api.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the client raises into BundleError."""
        import requests
        from github import GithubException

        try:
            yield
        except GithubException as error:
            raise self._refused(error.status, error.message or error.data) from error
        except requests.HTTPError as error:
            raise self._refused(error.response.status_code, error) from error
        except (requests.RequestException, OSError) as error:
            raise self._refused(None, error) from error

    def _refused(self, status: int | None, said: object) -> Exception:
        return refused(self.address, status, said, token="GITHUB_TOKEN", secrets=(self._token,))


def _stored(asset: GitReleaseAsset) -> Stored:
    """Read an asset's entry; ``digest`` is ``sha256:...`` for assets since June 2025."""
    algorithm, _, value = (asset.digest or "").partition(":")
    return Stored(size_bytes=asset.size, sha256=value if algorithm == "sha256" else "")
