"""Package indexes: where a file of a PyPI project can be downloaded, and what the index says of it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bundle.errors import SourceError

TIMEOUT_S = 15.0


@dataclass(frozen=True)
class IndexFile:
    """One file as a package index lists it."""

    name: str
    url: str
    sha256: str
    """Empty where the index gives none."""
    size_bytes: int | None
    version: str
    requires_python: str | None


class IndexUnreachable(SourceError):
    """A package index that does not answer at all."""


@functools.cache
def own_index() -> str:
    """Return the index this maintainer uses: uv's or pip's setting, else the public one."""
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if value := os.environ.get(variable):
            return value
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    if asked.returncode == 0 and asked.stdout.strip():
        return asked.stdout.strip()
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    return PYPI_SIMPLE_ENDPOINT


@functools.cache
def list_files(index_url: str, project: str) -> tuple[IndexFile, ...]:
    """Return all files of ``project`` on the index at ``index_url``.

    Raises SourceError where the index cannot be reached or has no such project.
    """
    import requests
    from pypi_simple import NoSuchProjectError, PyPISimple, UnsupportedContentTypeError, UnsupportedRepoVersionError

    try:
        with PyPISimple(index_url) as client:
            page = client.get_project_page(project, timeout=TIMEOUT_S)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise IndexUnreachable(
            f"the package index of {project} is out of reach", why="it does not answer", do="try another index"
        ) from error
    except (
        requests.RequestException,
        NoSuchProjectError,
        UnsupportedContentTypeError,
        UnsupportedRepoVersionError,
    ) as error:
        raise SourceError(
            f"the package index does not list {project}", why=f"{type(error).__name__}: {error}", do="try another index"
        ) from error
    return tuple(
        IndexFile(
            name=package.filename,
            url=package.url,
            sha256=(package.digests or {}).get("sha256", ""),
            size_bytes=package.size,
            version=package.version or "",
            requires_python=package.requires_python,
        )
        for package in page.packages
    )


def find_file(index_url: str, project: str, name: str) -> IndexFile:
    """Return the file ``name`` of ``project``; SourceError where the index lacks it."""
    for file in list_files(index_url, project):
        if file.name == name:
            return file
    raise SourceError(f"the package index has no {name}", why=f"{project} is listed without it", do="try another index")


def first_listing(index_urls: Sequence[str], project: str) -> tuple[IndexFile, ...]:
    """Return the files of ``project`` from the first index that answers."""
    problems = []
    for index_url in index_urls:
        try:
            return list_files(index_url, project)
        except SourceError as error:
            problems.append(error.why)
    raise SourceError(f"no package index lists {project}", why="; ".join(problems), do="check the network and the name")
