"""Cassette files: read back, cut off, encrypted, of a newer version, and no cassettes at all."""

import base64
from pathlib import Path

import pytest

from pipelines.recording.tape import Entry, Kind
from server.cassettes.blocks import CassetteError, Cipher, Locked, blocks
from server.cassettes.cassette import read_cassettes
from server.cassettes.writer import CassetteFile, Job, write
from server.settings.cassette_values import parse_which
from server.settings.written_values import read_key

CALL_ID = "0123456789abcdef0123456789abcdef"
KEY = bytes(range(32))


def file(folder: Path, key: bytes | None = None, most_bytes: int = 1_000_000) -> CassetteFile:
    head = {"call_id": CALL_ID, "phone_number": "+15550100123", "pipeline": "phone_call"}
    cipher = None if key is None else Cipher(key, CALL_ID)
    return CassetteFile(folder / f"{CALL_ID}.cassette", head, 0.0, cipher, most_bytes)


def entries(*texts: str) -> list[Entry]:
    return [(float(at), Kind.PHONE_OUT, 1, text) for at, text in enumerate(texts)]


def texts(path: Path, key: bytes | None = None) -> list[str]:
    return [message.content for message in read_cassettes(path, key)[-1].messages]


def test_what_was_written_is_read_with_how_the_call_ended(tmp_path: Path) -> None:
    kept = file(tmp_path)
    write([Job(kept, entries("one")), Job(kept, entries("two"), True, {"status": "completed"})])

    (cassette,) = read_cassettes(kept.path)

    assert [message.content for message in cassette.messages] == ["one", "two"]
    assert cassette.end == {"status": "completed"}
    assert not cassette.cut_off
    assert kept.path.stat().st_mode & 0o777 == 0o600


def test_a_file_cut_off_anywhere_is_read_up_to_its_last_whole_block(tmp_path: Path) -> None:
    kept = file(tmp_path)
    write([Job(kept, entries("one")), Job(kept, entries("two")), Job(kept, entries("three"))])
    whole = kept.path.read_bytes()
    ends = [block.ends_at for block in blocks(kept.path, None)]

    for length in range(ends[1], len(whole)):
        kept.path.write_bytes(whole[:length])
        (cassette,) = read_cassettes(kept.path)
        expected = ["one", "two"] if length >= ends[2] else ["one"]
        assert [message.content for message in cassette.messages] == expected
        assert cassette.cut_off == (length not in ends)
        assert cassette.end is None


def test_another_process_continues_behind_the_last_whole_block(tmp_path: Path) -> None:
    first = file(tmp_path)
    write([Job(first, entries("one"))])
    with first.path.open("ab") as cut:
        cut.write(b"\x02\x00\x00")
    write([Job(file(tmp_path), entries("two"), True, {"status": "completed"})])

    before, after = read_cassettes(first.path)

    assert [message.content for message in before.messages] == ["one"]
    assert [message.content for message in after.messages] == ["two"]
    assert after.end is not None


def test_an_encrypted_cassette_shows_nothing_and_opens_with_its_key_alone(tmp_path: Path) -> None:
    kept = file(tmp_path, KEY)
    write([Job(kept, entries("a secret sentence"), True, {"status": "completed"})])

    assert texts(kept.path, KEY) == ["a secret sentence"]
    assert b"phone_call" not in kept.path.read_bytes()
    with pytest.raises(Locked, match="CASSETTE_KEY"):
        read_cassettes(kept.path)
    with pytest.raises(Locked, match="another key"):
        read_cassettes(kept.path, bytes(32))
    renamed = kept.path.rename(kept.path.with_stem("f" * 32))
    with pytest.raises(Locked, match="renamed"):
        read_cassettes(renamed, KEY)


def test_a_file_that_is_full_takes_no_more(tmp_path: Path) -> None:
    kept = file(tmp_path, most_bytes=2_000)
    for _ in range(50):
        write([Job(kept, entries("x" * 300))])

    assert kept.is_full
    assert kept.path.stat().st_size < 3_000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"voice-ai cassette 3\nabc", "format 2, got format 3: a newer version"),
        (b"voice-ai cassette 1\nabc", "format 2, got format 1: an older version"),
        (b"RIFF....WAVE", "expected a cassette of Voice AI, got another file"),
        (b"", "expected a cassette of Voice AI, got another file"),
        (b"voice-ai cassette 2\n", "cut off before its first whole block"),
    ],
)
def test_what_is_no_cassette_is_told_in_a_sentence(
    tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / f"{CALL_ID}.cassette"
    path.write_bytes(content)

    with pytest.raises(CassetteError) as caught:
        read_cassettes(path)

    assert says in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("written", "means"), [("off", "off"), (" ALL ", "all"), ("0.05", 0.05)])
def test_which_calls_are_kept(written: str, means: object) -> None:
    assert parse_which(written) == means


@pytest.mark.parametrize("written", ["", "some", "-1", "1.5", "nan"])
def test_a_wrong_choice_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"such as 0\.05"):
        parse_which(written)


def test_a_key_is_32_bytes_in_base64() -> None:
    assert read_key(base64.b64encode(KEY).decode()) == KEY
    for wrong in ("", "short", base64.b64encode(KEY[:16]).decode(), "=" * 44):
        with pytest.raises(ValueError, match="32 bytes"):
            read_key(wrong)
