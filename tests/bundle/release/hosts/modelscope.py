"""ModelScope's hub, as far as uploads use it."""

from __future__ import annotations

import base64
import json
import re
from typing import ClassVar

from tests.bundle.release.hosts.host import TOKEN, Host, Refused, Request, need_token, reply, sha256

REPO = "me/chat"


class ModelScopeHost(Host):
    environment: ClassVar = {"MODELSCOPE_API_TOKEN": TOKEN, "MODELSCOPE_ENDPOINT": "{url}"}

    def __init__(self) -> None:
        super().__init__()
        self.blobs: dict[str, bytes] = {}
        """sha256 -> content of what LFS holds."""

    @property
    def target(self) -> str:
        return f"modelscope:{REPO}"

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        path = request.where
        need_token(request)
        if found := re.fullmatch(r"/storage/(\w+)", path):
            return self.storage(found[1], request)
        if re.fullmatch(r"/openapi/v1/(repos/)?models", path):  # the client makes sure that the repository exists
            raise Refused(409, "already exists")
        if REPO not in path:
            raise Refused(404, "record not found")
        if path == f"/api/v1/models/{REPO}/repo/files":
            return self.data({"Files": [self.shown(name) for name in sorted(self.files)]})
        if path == f"/api/v1/repos/models/{REPO}/info/lfs/objects/batch":
            return self.data({"objects": [self.batch(item) for item in json.loads(request.body())["objects"]]})
        if path == f"/api/v1/repos/models/{REPO}/commit/master":
            for action in json.loads(request.body())["actions"]:
                self.commit(action)
            return self.data({"CommitId": "1" * 40})
        if path == f"/api/v1/models/{REPO}/repo":
            return 200, {}, self.given(request.query["FilePath"])
        raise Refused(404, f"no such address: {request.command} {path}")

    def data(self, value: object) -> tuple[int, dict[str, str], bytes]:
        return reply({"Code": 200, "Success": True, "Message": "", "Data": value})

    def batch(self, item: dict[str, object]) -> dict[str, object]:
        if item["oid"] in self.blobs:
            return item
        return {**item, "actions": {"upload": {"href": f"{self.url}/storage/{item['oid']}"}}}

    def storage(self, oid: str, request: Request) -> tuple[int, dict[str, str], bytes]:
        data = request.upload()
        if sha256(data) != oid:
            raise Refused(400, "digest differs")
        self.blobs[oid] = data
        return self.data({})

    def commit(self, action: dict[str, str]) -> None:
        name = action["path"]
        if action["action"] == "delete":
            del self.files[name]
            return
        large = action["type"] == "lfs"
        self.files[name] = self.blobs[action["sha256"]] if large else base64.b64decode(action["content"])
        self.uploads.append(name)

    def shown(self, name: str) -> dict[str, object]:
        data = self.files[name]
        return {"Path": name, "Name": name, "Type": "blob", "Size": len(data), "Sha256": sha256(data)}
