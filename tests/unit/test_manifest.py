"""What is known of files: its digest, and what is said when it changes."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_signing import hashing
from model_signing._signing.signing import Payload

from lockgate.evidence.manifest import Artifacts, FileDigest, Hashing, amount, progress, statement


def file(path: str, content: bytes = b"") -> FileDigest:
    return FileDigest(path, len(content), hashlib.sha256(content).hexdigest())


def hashed(*files: FileDigest) -> Artifacts:
    return Artifacts(Hashing.HASHED, files)


WEIGHTS = file("weights.bin", b"a" * 100)
PENDING = Artifacts(Hashing.PENDING, reason="3.1 of 10.0 GB hashed")
UNVERIFIABLE = Artifacts(Hashing.UNVERIFIABLE, reason="Lockgate can't read gs:// locations.")


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (hashed(WEIGHTS), hashed(WEIGHTS), []),
        (hashed(WEIGHTS), hashed(file("weights.bin", b"b" * 120)), ["file weights.bin changed (120 bytes, was 100)"]),
        (hashed(WEIGHTS), hashed(file("weights.bin", b"b" * 100)), ["file weights.bin changed (100 bytes, was 100)"]),
        (hashed(WEIGHTS), hashed(WEIGHTS, file("x")), ["file x is new"]),
        (hashed(WEIGHTS, file("x")), hashed(WEIGHTS), ["file x is gone"]),
        (hashed(file("x", b"1")), hashed(file("y", b"1")), ["file x was renamed to y"]),
        (hashed(file("x", b"1")), hashed(file("y", b"2")), ["file y is new", "file x is gone"]),
        (
            hashed(file("x", b"1"), file("y", b"1")),
            hashed(file("z", b"1")),
            ["file x was renamed to z", "file y is gone"],
        ),
        (hashed(file("a\nb")), hashed(), ['file "a\\nb" is gone']),
        (hashed(WEIGHTS), PENDING, ["the files are being hashed"]),
        (PENDING, Artifacts(Hashing.PENDING, reason="9.9 of 10.0 GB hashed"), []),
        (PENDING, hashed(WEIGHTS), ["the files are hashed: 1 files, 100 bytes"]),
        (hashed(), UNVERIFIABLE, ["the files can't be verified: Lockgate can't read gs:// locations."]),
        (UNVERIFIABLE, UNVERIFIABLE, []),
    ],
)
def test_changes(before: Artifacts, after: Artifacts, changes: list[str]) -> None:
    assert after.changes_since(before) == changes


def test_many_changes_are_not_all_named() -> None:
    changes = hashed(*(file(f"{n:03}", b"%d" % n) for n in range(200))).changes_since(hashed())
    assert len(changes) == 51
    assert changes[-1] == "150 more changes to files"


@pytest.mark.parametrize("known", [hashed(), hashed(WEIGHTS, file("d/x", b"1")), PENDING, UNVERIFIABLE])
def test_json_there_and_back(known: Artifacts) -> None:
    assert Artifacts.from_json(known.to_json()) == known
    assert Artifacts.from_json(known.to_json()).digest == known.digest


def test_only_hashed_files_have_a_digest() -> None:
    assert PENDING.digest == ""
    assert UNVERIFIABLE.digest == ""
    assert hashed().digest.startswith("sha256:")
    assert hashed(WEIGHTS, file("x", b"12")).size == 102


def test_the_digest_is_of_what_model_signing_would_sign(tmp_path: Path) -> None:
    contents = {"MLmodel": b"flavors: {}\n", "data/weights.bin": b"\0" * 5000, "data/a:1:2": b"", "ä/ö": b"1"}
    for path, content in contents.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    signed = Payload(hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False).hash(tmp_path)).statement.pb
    ours = statement(tuple(file(path, content) for path, content in contents.items()))
    assert ours["subject"][0]["digest"]["sha256"] == signed.subject[0].digest["sha256"]
    assert ours["predicate"]["resources"] == [
        {name: resource[name] for name in ("name", "algorithm", "digest")} for resource in signed.predicate["resources"]
    ]


def test_a_rename_that_keeps_the_order_has_another_digest() -> None:
    one = hashed(file("a", b"1"), file("b", b"2"))
    other = hashed(file("a", b"1"), file("c", b"2"))
    assert statement(one.files)["subject"] == statement(other.files)["subject"]
    assert one.digest != other.digest


FILES = st.lists(
    st.builds(file, st.sampled_from(["a", "b", "c", "d/e"]), st.binary(max_size=2)), unique_by=lambda f: f.path
).map(sorted)


@given(FILES, FILES)
def test_the_digest_is_the_same_just_when_nothing_changed(before: list[FileDigest], after: list[FileDigest]) -> None:
    one, other = hashed(*before), hashed(*after)
    assert (one.digest == other.digest) == (other.changes_since(one) == []) == (before == after)


@pytest.mark.parametrize(
    ("done", "total", "said"),
    [
        (3_100_000_000, 10_000_000_000, "3.1 of 10.0 GB hashed"),
        (0, 1_500_000, "0.0 of 1.5 MB hashed"),
        (1, 999, "1 of 999 bytes hashed"),
    ],
)
def test_progress(done: int, total: int, said: str) -> None:
    assert progress(done, total) == said
    assert amount(total) in {"10.0 GB", "1.5 MB", "999 bytes"}
