"""Hugging Face's hub, as far as uploads use it: https://huggingface.co/docs/hub/api and the git-lfs batch API."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import ClassVar

from tests.bundle.release.hosts.host import TOKEN, Host, Refused, Request, need_token, reply, sha256

REPO = "me/chat"


class HuggingFaceHost(Host):
    # Xet, the client's first choice, is no HTTP API; this is its own switch to the other one.
    environment: ClassVar = {"HF_TOKEN": TOKEN, "HF_ENDPOINT": "{url}", "HF_HUB_DISABLE_XET": "1"}

    def __init__(self) -> None:
        super().__init__()
        self.blobs: dict[str, bytes] = {}
        """sha256 -> content of what LFS holds."""
        self.large: set[str] = set()
        """Names of files that LFS holds."""

    @property
    def target(self) -> str:
        return f"hf:{REPO}"

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        path = request.where
        if found := re.fullmatch(r"/storage/(\w+)", path):
            return self.storage(found[1], request)
        need_token(request)
        if REPO not in path:
            raise Refused(404, "Repository not found")
        if path == f"/api/models/{REPO}/tree/main":
            return reply([self.shown(name) for name in sorted(self.files)])
        if path == f"/api/models/{REPO}/preupload/main":
            wanted = json.loads(request.body())["files"]
            return reply({"files": [self.mode(file["path"], file["size"]) for file in wanted]})
        if path == f"/{REPO}.git/info/lfs/objects/batch":
            return reply(
                {"transfer": "basic", "objects": [self.batch(item) for item in json.loads(request.body())["objects"]]}
            )
        if path == f"/api/models/{REPO}/commit/main":
            self.commit(request.body())
            return reply({"success": True, "commitOid": "1" * 40, "commitUrl": f"{self.url}/{REPO}/commit/{'1' * 40}"})
        if found := re.fullmatch(rf"/{REPO}/resolve/main/(.+)", path):
            if found[1] not in self.files:
                raise Refused(404, "Entry not found")
            return 200, {}, self.given(found[1])
        raise Refused(404, f"no such address: {request.command} {path}")

    def mode(self, name: str, size_bytes: int) -> dict[str, object]:
        large = name.endswith(".7z") or size_bytes > 10 << 20
        return {"path": name, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": None}

    def batch(self, item: dict[str, object]) -> dict[str, object]:
        if item["oid"] in self.blobs:
            return item
        return {**item, "actions": {"upload": {"href": f"{self.url}/storage/{item['oid']}", "header": {}}}}

    def storage(self, oid: str, request: Request) -> tuple[int, dict[str, str], bytes]:
        data = request.upload()
        if sha256(data) != oid:
            raise Refused(400, "digest differs")
        self.blobs[oid] = data
        return 200, {}, b""

    def commit(self, body: bytes) -> None:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "lfsFile":
                self.files[value["path"]] = self.blobs[value["oid"]]
                self.large.add(value["path"])
            elif line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del self.files[value["path"]]
            if line["key"] in ("lfsFile", "file"):
                self.uploads.append(value["path"])

    def shown(self, name: str) -> dict[str, object]:
        data = self.files[name]
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(data), "oid": git}
        if name in self.large:
            entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 130}
        return entry
