"""Label sets: labels to numbers, to a file and back, and what is no label set."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.errors import BundleError, DataError
from aimass.text.tokens import LabelSet

Names = st.text(min_size=1, max_size=20).filter(
    lambda text: text.strip() and text.splitlines() == [text]
)
Labels = st.lists(Names, min_size=1, max_size=9)


@given(Labels)
def test_labels_have_numbers(texts: list[str]) -> None:
    texts = [*texts, "a", "b"]
    labels = LabelSet.from_texts(texts)
    assert labels == LabelSet.from_texts(texts[::-1] * 2)
    assert labels.size == len(set(texts)) == len(labels.symbols)
    for text in texts:
        (number,) = labels.encode(text)
        assert labels.symbols[number] == text


@given(Labels)
def test_file_and_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "labels.txt"
    labels = LabelSet.from_texts([*texts, "a", "b"])
    labels.save(path)
    assert LabelSet.load(path) == labels


def test_labels_may_have_spaces(tmp_path: Path) -> None:
    LabelSet(("turn left", "停 7")).save(tmp_path / "labels.txt")
    assert (tmp_path / "labels.txt").read_bytes() == "turn left 0\n停 7 1\n".encode()
    assert LabelSet.load(tmp_path / "labels.txt").symbols == ("turn left", "停 7")


@pytest.mark.parametrize(("texts", "count"), [([], 0), (["go"], 1), (["go", "go"], 1)])
def test_nothing_to_tell_apart(texts: list[str], count: int) -> None:
    with pytest.raises(DataError, match=f"has {count} label.*at least two"):
        LabelSet.from_texts(texts)


@pytest.mark.parametrize("label", ["", " ", "two\nlines", "end\r", "\u2028"])
def test_a_label_that_is_no_name(label: str) -> None:
    with pytest.raises(DataError, match=r"a recording has the label .*a name in one line"):
        LabelSet.from_texts(["go", label, "stop"])


@pytest.mark.parametrize("label", ["", "Go", "go ", "x" * 500])
def test_a_label_that_was_not_trained(label: str) -> None:
    with pytest.raises(DataError, match="is not among the 2 of the training data") as caught:
        LabelSet(("go", "stop")).encode(label)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("content", [b"", b"\n", b"go 1\n", b"go\n", b"go 0\n\n", b"\xff 0\n"])
def test_broken_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(BundleError, match=r"labels\.txt") as caught:
        LabelSet.load(tmp_path / "labels.txt")
    assert "Pack the bundle again" in caught.value.fix
