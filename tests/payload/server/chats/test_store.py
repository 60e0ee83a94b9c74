"""The folder of conversations: nobody's changes are overwritten, nothing is half there, a bad file harms no other."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.windows.names import member_problem
from oneclick.server.api_errors import ApiError
from oneclick.server.chats import store
from oneclick.server.chats.document import Chat, to_file
from oneclick.server.chats.store import KEPT_S, TRASH, ChatFolder, file_name
from tests.payload.server.chats.test_document import HEAD, answer, question

ID = "0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba98"
PAYLOAD = Path(__file__).parents[4] / "payload"


def a_chat(*texts: str, title: str = "旅行") -> Chat:
    return Chat({**HEAD, "title": title}, [{**question(text), "id": f"m{number}"} for number, text in enumerate(texts)])


def texts_of(chats: ChatFolder, chat_id: str = ID) -> list[str]:
    return [message["text"] for message in chats.read(chat_id)[0].messages]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "对话"


@pytest.fixture
def chats(folder: Path) -> ChatFolder:
    return ChatFolder(folder)


def test_nothing_is_made_before_there_is_something_to_keep(chats: ChatFolder, folder: Path) -> None:
    assert chats.listed() == ([], [])
    assert chats.find("x") == []
    chats.delete(ID)
    chats.empty_trash()
    assert not folder.exists()


def test_what_is_saved_is_read_and_listed(chats: ChatFolder, folder: Path) -> None:
    revision = chats.save(ID, a_chat("去哪里？"), None)
    chat, read = ChatFolder(folder).read(ID)
    assert read == revision
    assert chat.conversation["title"] == "旅行"
    assert chat.messages == [{**question("去哪里？"), "id": "m0", "conversation": ID}]
    assert chats.listed() == ([{**HEAD, "id": ID, "revision": revision}], [])
    assert [path.name for path in folder.glob("*.md*")] == [f"旅行 {ID}.md"]


@pytest.mark.parametrize("revision", [None, "0" * 32])
def test_a_save_over_another_version_is_refused_and_changes_nothing(chats: ChatFolder, revision: str | None) -> None:
    chats.save(ID, a_chat("第一"), None)
    with pytest.raises(ApiError) as refused:
        chats.save(ID, a_chat("第二"), revision)
    assert refused.value.status == 409
    assert texts_of(chats) == ["第一"]


def test_a_save_of_what_was_deleted_meanwhile_is_refused(chats: ChatFolder) -> None:
    revision = chats.save(ID, a_chat("第一"), None)
    chats.delete(ID)
    with pytest.raises(ApiError, match="changed elsewhere"):
        chats.save(ID, a_chat("第二"), revision)


def test_a_change_made_in_an_editor_is_a_change(chats: ChatFolder, folder: Path) -> None:
    revision = chats.save(ID, a_chat("第一"), None)
    file = folder / f"旅行 {ID}.md"
    file.write_bytes(file.read_bytes().replace("第一".encode(), "改过".encode()))
    with pytest.raises(ApiError, match="changed elsewhere"):
        chats.save(ID, a_chat("第二"), revision)
    assert texts_of(chats) == ["改过"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["read", "add", "delete"])), max_size=25))
def test_whatever_writers_do_nothing_that_was_saved_is_overwritten_unseen(steps: list[tuple[int, str]]) -> None:
    """Three writers, each with what it last read; the model is the list of texts and who has seen it."""
    with tempfile.TemporaryDirectory() as place:
        writers = [ChatFolder(Path(place) / "对话") for _ in range(3)]
        held: list[tuple[list[str], str | None]] = [([], None)] * 3
        truth: list[str] | None = None
        for number, (who, what) in enumerate(steps):
            texts, revision = held[who]
            if what == "read":
                held[who] = ([], None) if truth is None else (texts_of(writers[who]), writers[who].read(ID)[1])
                assert held[who][0] == (truth or [])
            elif what == "delete":
                writers[who].delete(ID)
                truth = None
            else:
                wanted = [*texts, f"{who}:{number}"]
                if truth == (None if revision is None else texts):
                    held[who] = (wanted, writers[who].save(ID, a_chat(*wanted), revision))
                    truth = wanted
                else:
                    with pytest.raises(ApiError, match="changed elsewhere"):
                        writers[who].save(ID, a_chat(*wanted), revision)
        assert (texts_of(writers[0]) if truth is not None else None) == truth


ADDING = """
import sys
from pathlib import Path
from oneclick.server.api_errors import ApiError
from oneclick.server.chats.document import Chat
from oneclick.server.chats.store import ChatFolder
chats, chat_id, who = ChatFolder(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
for number in range(25):
    while True:
        try:
            chat, revision = chats.read(chat_id)
            message = {"id": f"{who}{number}", "role": "user", "text": who}
            chats.save(chat_id, Chat(chat.conversation, [*chat.messages, message]), revision)
            break
        except ApiError as refused:
            assert refused.status == 409
"""


def run_python(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(PAYLOAD), "PYTHONUTF8": "1"}
    return subprocess.Popen([sys.executable, "-c", script, *arguments], env=environment)


def test_programs_that_write_at_once_lose_nothing(chats: ChatFolder, folder: Path) -> None:
    """As two PCs with the folder on a share."""
    chats.save(ID, a_chat(), None)
    programs = [run_python(ADDING, str(folder), ID, who) for who in "abc"]
    assert [program.wait(120) for program in programs] == [0, 0, 0]
    found = {message["id"] for message in chats.read(ID)[0].messages}
    assert found == {f"{who}{number}" for who in "abc" for number in range(25)}


def test_of_many_who_make_the_same_conversation_one_does(folder: Path) -> None:
    def save(number: int) -> bool:
        try:
            ChatFolder(folder).save(ID, a_chat(str(number), title=f"第{number}个"), None)
        except ApiError:
            return False
        return True

    folder.mkdir()
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(save, range(8))) == 1
    assert len(ChatFolder(folder).listed()[0]) == 1


SAVING = """
import sys
from pathlib import Path
from oneclick.server.chats.document import Chat
from oneclick.server.chats.store import ChatFolder
chats, chat_id = ChatFolder(Path(sys.argv[1])), sys.argv[2]
chat, revision = chats.read(chat_id)
number = int(chat.messages[0]["text"].split()[0])
print("go", flush=True)
while True:
    number += 1
    text = f"{number} " * 20000
    head = {**chat.conversation, "title": f"{number}"}
    messages = [{"id": name, "role": "user", "text": text} for name in "ab"]
    revision = chats.save(chat_id, Chat(head, messages), revision)
"""


def test_killed_in_the_middle_of_saving_there_is_the_old_or_the_new_version(chats: ChatFolder, folder: Path) -> None:
    chats.save(ID, a_chat("0 ", "0 ", title="0"), None)
    environment = {**os.environ, "PYTHONPATH": str(PAYLOAD), "PYTHONUTF8": "1"}
    dice = random.Random(22)
    last = 0
    for _ in range(20):
        command = [sys.executable, "-c", SAVING, str(folder), ID]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as program:
            assert program.stdout
            assert program.stdout.readline() == b"go\n"
            time.sleep(dice.random() * 0.03)
            program.kill()
        chat, _ = chats.read(ID)
        number = int(chat.conversation["title"])
        assert number >= last
        assert {message["text"] for message in chat.messages} == {f"{number} " * (20000 if number else 1)}
        assert len(list(folder.glob("*.md"))) == 1
        assert chats.listed()[1] == []
        last = number
    assert last > 0


def test_a_full_disk_is_an_error_and_leaves_the_old_version(chats: ChatFolder, folder: Path) -> None:
    revision = chats.save(ID, a_chat("第一"), None)
    half = folder / f"旅行 {ID}.md.part"
    half.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        chats.save(ID, a_chat("第二"), revision)
    assert texts_of(chats) == ["第一"]
    half.unlink()
    chats.save(ID, a_chat("第二"), revision)
    assert texts_of(chats) == ["第二"]


def test_a_damaged_file_is_named_and_the_others_are_there(chats: ChatFolder, folder: Path) -> None:
    chats.save(ID, a_chat("好的"), None)
    chats.save(OTHER, a_chat("坏的", title="坏"), None)
    bad = folder / f"坏 {OTHER}.md"
    bad.write_bytes(b"\0" * 3000)
    (folder / "large.md").touch()
    os.truncate(folder / "large.md", store.MAX_FILE_BYTES + 1)
    (folder / "folder.md").mkdir()
    (folder / "notes.txt").write_text("not ours", encoding="utf-8")
    heads, damaged = chats.listed()
    assert [head["id"] for head in heads] == [ID]
    assert damaged == [bad.name, "folder.md", "large.md"] or set(damaged) == {bad.name, "folder.md", "large.md"}
    assert [found["id"] for found in chats.find("的")] == [ID]
    with pytest.raises(ApiError) as refused:
        chats.read(OTHER)
    assert refused.value.status == 422
    assert bad.name in str(refused.value)
    with pytest.raises(ApiError, match="changed elsewhere"):
        chats.save(OTHER, a_chat("新"), None)
    assert bad.read_bytes() == b"\0" * 3000


def test_a_new_title_renames_the_file(chats: ChatFolder, folder: Path) -> None:
    revision = chats.save(ID, a_chat("x", title="旧名"), None)
    chats.save(ID, a_chat("x", title="新名"), revision)
    assert [path.name for path in folder.glob("*.md")] == [f"新名 {ID}.md"]


def test_a_file_renamed_by_its_user_is_the_same_conversation(chats: ChatFolder, folder: Path) -> None:
    revision = chats.save(ID, a_chat("x"), None)
    (folder / f"旅行 {ID}.md").rename(folder / f"给妈妈看 {ID}.md")
    chats.save(ID, a_chat("x", "y"), revision)
    assert texts_of(chats) == ["x", "y"]
    assert len(list(folder.glob("*.md"))) == 1


def test_a_copied_file_is_a_conversation_of_its_own(chats: ChatFolder, folder: Path) -> None:
    chats.save(ID, a_chat("x"), None)
    copy = folder / f"旅行 {ID} - 副本.md"
    copy.write_bytes((folder / f"旅行 {ID}.md").read_bytes())
    (folder / f"又一份 {ID}.md").write_bytes(copy.read_bytes())
    ids = {head["id"] for head in chats.listed()[0]}
    assert len(ids) == 3
    for chat_id in ids - {ID}:
        chats.save(chat_id, a_chat("y"), chats.read(chat_id)[1])
        assert texts_of(chats, chat_id) == ["y"]
        assert {message["conversation"] for message in chats.read(chat_id)[0].messages} == {chat_id}
    assert texts_of(chats) == ["x"]
    assert {head["id"] for head in chats.listed()[0]} == ids


@given(
    st.text(max_size=80)
    | st.sampled_from(["con", "nul.txt", "../..", "a" * 300, "文" * 90, "😀" * 60, " . ", "a\u202eb"])
)
def test_every_title_gives_a_name_that_windows_allows(title: str) -> None:
    name = file_name(title, ID)
    assert member_problem(name) is None
    assert len(name) <= 70
    assert name.encode("utf-8", "surrogatepass").decode("utf-8") == name


def test_a_deleted_conversation_lies_in_the_trash_for_thirty_days(chats: ChatFolder, folder: Path) -> None:
    chats.save(ID, a_chat("x"), None)
    long_ago = time.time() - 2 * KEPT_S
    os.utime(folder / f"旅行 {ID}.md", (long_ago, long_ago))
    chats.delete(ID)
    kept = folder / TRASH / f"旅行 {ID}.md"
    chats.empty_trash()
    assert chats.listed() == ([], [])
    assert kept.read_bytes() == to_file(a_chat("x"))
    almost = time.time() - KEPT_S + 3600
    os.utime(kept, (almost, almost))
    chats.empty_trash()
    assert kept.exists()
    os.utime(kept, (long_ago, long_ago))
    (folder / TRASH / "mine.txt").write_text("not ours", encoding="utf-8")
    os.utime(folder / TRASH / "mine.txt", (long_ago, long_ago))
    chats.empty_trash()
    assert [path.name for path in (folder / TRASH).iterdir()] == ["mine.txt"]


def test_a_file_taken_out_of_the_trash_is_back(chats: ChatFolder, folder: Path) -> None:
    chats.save(ID, a_chat("x"), None)
    chats.delete(ID)
    (folder / TRASH / f"旅行 {ID}.md").rename(folder / f"旅行 {ID}.md")
    assert texts_of(chats) == ["x"]


def test_words_are_found_in_titles_and_texts_of_all_versions(chats: ChatFolder) -> None:
    long = "前" * 500 + "大熊猫 Panda" + "后" * 500
    chats.save(ID, Chat({**HEAD, "title": "旅行"}, [question("x"), answer("没有", long)]), None)
    chats.save(OTHER, a_chat("熊猫基地", title="成都"), None)
    found = {one["id"]: one["text"] for one in chats.find("熊猫")}
    assert set(found) == {ID, OTHER}
    assert "大熊猫 Panda" in found[ID]
    assert len(found[ID]) < 300
    assert [one["id"] for one in chats.find("pANDA")] == [ID]
    assert [one["id"] for one in chats.find("成都")] == [OTHER]
    assert chats.find("updatedAt") == []


def test_a_search_that_finds_much_is_bounded(chats: ChatFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_FOUND", 3)
    for number in range(5):
        chats.save(f"{number:024x}", a_chat("同样"), None)
    assert len(chats.find("同样")) == 3
