"""GitHub's releases, as far as they are used: https://docs.github.com/en/rest/releases"""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

from tests.bundle.release.hosts.host import TOKEN, Host, Refused, Request, need_token, reply, sha256

REPO = "me/chat"


class GitHubHost(Host):
    environment: ClassVar = {"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": "{url}"}

    def __init__(self) -> None:
        super().__init__()
        self.tags = {"v1.0.0"}
        self.releases: list[dict[str, Any]] = []
        self.assets: dict[int, dict[str, Any]] = {}
        self.next_id = 1

    @property
    def target(self) -> str:
        return f"github:{REPO}@v1.0.0"

    def new_id(self) -> int:
        with self.lock:
            self.next_id += 1
            return self.next_id

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        path, method = request.where, request.command
        if stored := re.fullmatch(r"/storage/(\d+)", path):
            return 200, {}, self.given(self.assets[int(stored[1])]["name"])
        need_token(request, "token" if request.headers["Authorization"].startswith("token") else "Bearer")
        if not path.startswith(f"/repos/{REPO}"):
            raise Refused(404, "Not Found")
        path = path.removeprefix(f"/repos/{REPO}")
        if path == "":
            return reply({"name": "chat", "full_name": REPO, "url": f"{self.url}/repos/{REPO}"})
        if found := re.fullmatch(r"/git/refs?/tags/(.+)", path):
            if found[1] not in self.tags:
                raise Refused(404, "Not Found")
            return reply({"ref": f"refs/tags/{found[1]}", "object": {"sha": "0" * 40, "type": "commit"}})
        if path == "/releases" and method == "GET":
            return reply(self.releases)
        if path == "/releases":
            return reply(self.create(json.loads(request.body())), 201)
        if found := re.fullmatch(r"/releases/(\d+)/assets", path):
            if method == "POST":
                return self.take(request)
            return reply([self.shown(number) for number in self.assets])
        if found := re.fullmatch(r"/releases/assets/(\d+)", path):
            return self.asset(int(found[1]), request)
        raise Refused(404, f"no such address: {method} {path}")

    def create(self, wanted: dict[str, Any]) -> dict[str, Any]:
        base = f"{self.url}/repos/{REPO}/releases/{self.new_id()}"
        release = {
            "id": self.next_id,
            "tag_name": wanted["tag_name"],
            "name": wanted["name"],
            "body": wanted["body"],
            "draft": wanted["draft"],
            "url": base,
            "assets_url": f"{base}/assets",
            "upload_url": f"{base}/assets{{?name,label}}",
        }
        self.releases.append(release)
        return release

    def take(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """An asset exists from its first byte on, in the state ``starter`` until the last one."""
        name = request.query["name"]
        with self.lock:
            if any(asset["name"] == name for asset in self.assets.values()):
                raise Refused(422, "already_exists")
            number = self.new_id()
            self.assets[number] = {"id": number, "name": name, "state": "starter", "size": 0, "digest": None}
        data = request.upload()
        self.assets[number].update(state="uploaded", size=len(data), digest=f"sha256:{sha256(data)}")
        self.files[name] = data
        self.uploads.append(name)
        return reply(self.shown(number), 201)

    def shown(self, number: int) -> dict[str, Any]:
        return {**self.assets[number], "url": f"{self.url}/repos/{REPO}/releases/assets/{number}"}

    def asset(self, number: int, request: Request) -> tuple[int, dict[str, str], bytes]:
        if number not in self.assets:
            raise Refused(404, "Not Found")
        if request.command == "DELETE":
            self.files.pop(self.assets.pop(number)["name"], None)
            return 204, {}, b""
        if request.headers["Accept"] == "application/octet-stream":
            return 302, {"Location": f"{self.url}/storage/{number}"}, b""
        return reply(self.shown(number))
