from __future__ import annotations

import asyncio
import base64
import threading
from pathlib import Path

import pytest
from werkzeug.security import check_password_hash

from skytrail.errors import ListenError
from skytrail.http.credentials import (
    Credentials,
    Known,
    OverloadError,
    User,
    WatchedFile,
    hash_password,
    make_token,
    parse_tokens,
    parse_users,
)
from skytrail.http.roles import Role
from skytrail.settings.tree import Http

HASH = "pbkdf2:sha256:1$salt$e6fcb1d80b8e8ae3ad1eb2f2ee1dba0e2fbd0f2e8f4e5a8d5a4e1a0f4a8c7b6d"


def basic(user: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


def users(tmp_path: Path, **passwords: str) -> Credentials:
    path = tmp_path / "users"
    path.write_text("".join(f"{user}:{hash_password(password)}\n" for user, password in passwords.items()))
    return Credentials(Http(users_file=str(path)))


def test_hash_is_salted_and_verifies() -> None:
    first, second = hash_password("hunter2"), hash_password("hunter2")
    assert first != second
    assert check_password_hash(first, "hunter2")
    assert parse_users(f"alice:{first}") == {"alice": User(first, Role.ADMIN)}


def test_comments_and_empty_lines_are_skipped() -> None:
    assert len(parse_tokens("# two tokens\n\n one \ntwo\n")) == 2
    assert parse_users(f"# one user\nalice:{HASH}\n") == {"alice": User(HASH, Role.ADMIN)}


def test_users_and_tokens_have_the_roles_of_their_lines() -> None:
    assert parse_users(f"alice:read:{HASH}\nbob:capture:{HASH}\neve:{HASH}") == {
        "alice": User(HASH, Role.READ),
        "bob": User(HASH, Role.CAPTURE),
        "eve": User(HASH, Role.ADMIN),
    }
    made = make_token("scraper", "read")
    tokens = parse_tokens(f"{made.line}\nplain:token\n")
    assert [(one.name, one.role) for one in tokens] == [("scraper", Role.READ), ("token", Role.ADMIN)]
    assert made.secret not in made.line


@pytest.mark.parametrize(
    "line", ["a:read:sha256$00", "a:boss:sha256$" + "0" * 64, "sha256$" + "0" * 64, ":read:sha256$" + "0" * 64]
)
def test_hashed_tokens_that_are_none_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match="is none that skytrail token writes"):
        parse_tokens(line)


@pytest.mark.parametrize(
    "text", ["", "# nobody\n", "alice:plain", ":x", "alice", "alice:md5$salt$00", f"alice:boss:{HASH}", "alice:read:plain"]
)
def test_users_that_are_none_are_refused_without_their_hash(text: str) -> None:
    with pytest.raises(ValueError, match="user") as error:
        parse_users(text)
    assert "plain" not in str(error.value)


def test_file_that_is_missing_or_empty_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match=r"http\.token_file: .*absent"):
        Credentials(Http(token_file=str(tmp_path / "absent")))
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(ListenError, match="no token in it"):
        Credentials(Http(token_file=str(empty)))


def test_each_token_of_the_file_is_good_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("old-token\nnew-token\n")
    credentials = Credentials(Http(token_file=str(path)))

    def check(value: bytes) -> Known | None:
        return asyncio.run(credentials.check(value))

    assert check(b"Bearer old-token") == Known("token", Role.ADMIN)
    assert check(b"bearer new-token") == Known("token", Role.ADMIN)
    for wrong in (b"", b"Bearer", b"Bearer ", b"Bearer old-toke", b"Bearer old-token2", b"Basic old-token", b"old-token"):
        assert not check(wrong), wrong


def test_password_is_checked_for_its_own_user_only(tmp_path: Path) -> None:
    credentials = users(tmp_path, alice="hunter2", bob="swordfish")

    async def check() -> list[bool]:
        pairs = [("alice", "hunter2"), ("alice", "hunter2"), ("bob", "hunter2"), ("eve", "hunter2"), ("alice", "")]
        return [await credentials.check(basic(*pair)) is not None for pair in pairs]

    assert asyncio.run(check()) == [True, True, False, False, False]


@pytest.mark.parametrize("rest", [b"", b"!!!", b"YWxpY2U=", b"/////w==", b"YWxpY2U6"])
def test_broken_basic_value_is_no_user(tmp_path: Path, rest: bytes) -> None:
    assert not asyncio.run(users(tmp_path, alice="hunter2").check(b"Basic " + rest))


def test_changed_file_counts_at_once_and_revokes(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"alice:{hash_password('old')}\n")
    credentials = Credentials(Http(users_file=str(path)))

    async def check() -> list[bool]:
        before = await credentials.check(basic("alice", "old")) is not None
        fresh = tmp_path / "fresh"
        fresh.write_text(f"alice:{hash_password('new')}\n")
        fresh.replace(path)
        after = [await credentials.check(basic("alice", word)) is not None for word in ("old", "new")]
        path.unlink()
        return [before, *after, await credentials.check(basic("alice", "new")) is not None]

    assert asyncio.run(check()) == [True, False, True, False]


def test_flood_of_wrong_passwords_is_bounded(tmp_path: Path) -> None:
    credentials = users(tmp_path, alice="hunter2")

    async def flood() -> list[Known | BaseException | None]:
        attempts = [credentials.check(basic("alice", str(number))) for number in range(40)]
        return await asyncio.gather(*attempts, return_exceptions=True)

    answers = asyncio.run(flood())
    assert sum(isinstance(answer, OverloadError) for answer in answers) == 24
    assert answers.count(None) == 16


def test_a_remembered_password_counts_with_the_role_of_now(tmp_path: Path) -> None:
    path, hashed = tmp_path / "users", hash_password("word")
    path.write_text(f"alice:admin:{hashed}\n")
    credentials = Credentials(Http(users_file=str(path)))

    async def check() -> list[Known | None]:
        before = [await credentials.check(basic("alice", "word")) for _ in range(2)]
        path.write_text(f"alice:read:{hashed}\n")
        return [*before, *[await credentials.check(basic("alice", "word")) for _ in range(2)]]

    assert asyncio.run(check()) == [Known("alice", Role.ADMIN)] * 2 + [Known("alice", Role.READ)] * 2


def test_a_password_that_is_checked_while_the_file_changes_counts_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, checking, changed = tmp_path / "users", threading.Event(), threading.Event()
    path.write_text(f"alice:{hash_password('old')}\n")
    credentials = Credentials(Http(users_file=str(path)))

    def matches(hashed: str, password: str) -> bool:
        checking.set()
        changed.wait(30)
        return check_password_hash(hashed, password)

    monkeypatch.setattr("skytrail.http.credentials._matches", matches)

    async def check() -> bool:
        under_way = asyncio.create_task(credentials.check(basic("alice", "old")))
        await asyncio.to_thread(checking.wait, 30)
        path.write_text(f"alice:{hash_password('new word')}\n")
        after = asyncio.create_task(credentials.check(basic("alice", "new word")))
        await asyncio.sleep(0)
        changed.set()
        await asyncio.gather(under_way, after)
        return await credentials.check(basic("alice", "old")) is not None

    assert asyncio.run(check()) is False


def test_a_file_that_may_be_read_again_is_read_again(tmp_path: Path) -> None:
    """Who may read it is changed by chown and chmod, which change neither its content nor the time of that."""
    path = tmp_path / "tokens"
    path.write_text("one")
    path.chmod(0o600)

    def parse(text: str) -> str:
        if path.stat().st_mode & 0o077 == 0:
            return text
        raise ValueError("it is open to others")

    watched = WatchedFile("http.token_file", str(path), parse, "")
    path.chmod(0o640)
    assert watched.content() == ""
    path.chmod(0o600)
    assert watched.content() == "one"
