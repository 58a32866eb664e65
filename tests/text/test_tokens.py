"""Token sets: text to ids and back, to a file and back, and files that are no token sets."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.errors import BundleError, DataError
from aimass.text.normalise import normalise
from aimass.text.tokens import BLANK, MAX_CLOSED_WORDS, MIN_WORD_COUNT, WORD_START, TokenSet

Texts = st.lists(
    st.text(min_size=1, max_size=30).filter(lambda text: WORD_START not in text and text.split()),
    min_size=1,
    max_size=8,
)


@given(Texts)
def test_text_to_ids_and_back(texts: list[str]) -> None:
    tokens = TokenSet.from_texts(texts)
    for text in texts:
        ids = tokens.encode(text)
        assert all(0 <= i < tokens.blank for i in ids)
        assert tokens.decode(ids) == " ".join(text.split())


@given(Texts)
def test_words_to_ids_and_back(texts: list[str]) -> None:
    tokens = TokenSet.from_texts(texts * MIN_WORD_COUNT)
    assert len(tokens.symbols) == len({word for text in texts for word in text.split()})
    for text in texts:
        ids = tokens.encode(text)
        assert len(ids) == len(text.split())
        assert tokens.decode(ids) == " ".join(text.split())


@given(Texts)
def test_file_and_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "tokens.txt"
    for tokens in (TokenSet.from_texts(texts), TokenSet.from_texts(texts * MIN_WORD_COUNT)):
        tokens.save(path)
        assert TokenSet.load(path) == tokens


@given(st.text())
def test_normalised_text_never_holds_the_mark(text: str) -> None:
    assert WORD_START not in normalise(text + WORD_START, "en")


@given(Texts)
def test_the_order_of_texts_does_not_matter(texts: list[str]) -> None:
    assert TokenSet.from_texts(texts) == TokenSet.from_texts(texts[::-1])


def test_few_frequent_words_are_whole() -> None:
    tokens = TokenSet.from_texts(["no yes"] * MIN_WORD_COUNT)
    assert tokens.symbols == ("▁no", "▁yes")
    assert (tokens.blank, tokens.size) == (2, 3)


def test_a_rare_word_is_spelled() -> None:
    assert TokenSet.from_texts(["no"] * MIN_WORD_COUNT + ["so"]).symbols == ("o", "▁n", "▁s")


def test_many_words_are_spelled() -> None:
    words = [chr(97 + i % 26) + chr(97 + i // 26) for i in range(MAX_CLOSED_WORDS + 1)]
    assert len(TokenSet.from_texts(words[:-1] * MIN_WORD_COUNT).symbols) == MAX_CLOSED_WORDS
    assert len(TokenSet.from_texts(words * MIN_WORD_COUNT).symbols) < 40


@pytest.mark.parametrize("texts", [[], [""], [" ", "\n"]])
def test_no_words(texts: list[str]) -> None:
    with pytest.raises(DataError, match=r"no words.*at least one word.*Fill the text column"):
        TokenSet.from_texts(texts)


@pytest.mark.parametrize(("text", "piece"), [("nose", "s"), ("on", "o"), ("no étude", "é")])
def test_text_that_the_set_does_not_hold(text: str, piece: str) -> None:
    tokens = TokenSet(("▁n", "o", "e"))
    assert tokens.encode("noe no") == [0, 1, 2, 0, 1]
    with pytest.raises(DataError, match=f"'{text.split()[-1]}' holds '{piece}'") as caught:
        tokens.encode(text)
    assert caught.value.fix


def test_the_form_that_sherpa_onnx_expects(tmp_path: Path) -> None:
    TokenSet(("▁no", "▁yes")).save(tmp_path / "tokens.txt")
    assert (tmp_path / "tokens.txt").read_bytes() == f"▁no 0\n▁yes 1\n{BLANK} 2\n".encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"a 0\nb 1\n",
        b"<blk> 0\na 1\n",
        b"a 0\n<blk> 2\n",
        b"a 1\n<blk> 2\n",
        b"a\n<blk> 1\n",
        b"a 0\n\n<blk> 1\n",
        b"a 0\n<blk> 1\nb 2\n",
        b"a\t0\n<blk>\t1\n",
        b"\xff\xfe 0\n<blk> 1\n",
        b"a 00\n<blk> 1\n",
    ],
)
def test_broken_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokens.txt"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"tokens\.txt") as caught:
        TokenSet.load(path)
    assert "Pack the bundle again" in caught.value.fix


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        TokenSet.load(tmp_path / "tokens.txt")
