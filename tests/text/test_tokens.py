"""Token sets: text to ids and back, to a file and back, and files that are no token sets."""

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.errors import BundleError, DataError, ScenarioError
from aimass.text import vocabulary
from aimass.text.normalise import normalise
from aimass.text.spacing import mixed_tokens, respaced, stands_alone
from aimass.text.tokens import BLANK, MAX_TABLE_BYTES, WORD_START, TokenSet
from aimass.text.vocabulary import KINDS, MAX_CLOSED_WORDS, MIN_WORD_COUNT, SUBWORDS, Kind

ROOT = Path(__file__).parents[2]

Texts = st.lists(
    st.text(min_size=1, max_size=30).filter(lambda text: WORD_START not in text and text.split()),
    min_size=1,
    max_size=8,
)


Mixed = st.lists(
    st.text("ab é你好们カーไม่ ", min_size=1, max_size=20).filter(str.strip), min_size=1, max_size=8
)
Kinds = st.sampled_from(KINDS)


@given(Texts | Mixed, Kinds, st.sampled_from([1, MIN_WORD_COUNT]))
def test_text_to_ids_and_back(texts: list[str], kind: Kind, times: int) -> None:
    tokens = TokenSet.from_texts(texts * times, kind)
    for text in texts:
        ids = tokens.encode(text)
        assert all(0 <= i < tokens.blank for i in ids)
        assert tokens.decode(ids) == respaced(text)
        assert tokens.encode(tokens.decode(ids)) == ids


@given(Texts | Mixed)
def test_words_to_ids_and_back(texts: list[str]) -> None:
    tokens = TokenSet.from_texts(texts * MIN_WORD_COUNT)
    assert tokens == TokenSet.from_texts(texts, "words")
    assert len(tokens.symbols) == len({unit for text in texts for unit in mixed_tokens(text)})
    for text in texts:
        assert len(tokens.encode(text)) == len(mixed_tokens(text))


@given(Texts | Mixed, Kinds, st.data())
def test_any_ids_to_text_and_back(texts: list[str], kind: Kind, data: st.DataObject) -> None:
    tokens = TokenSet.from_texts(texts, kind)
    ids = data.draw(st.lists(st.integers(0, tokens.blank - 1), min_size=1, max_size=20))
    text = tokens.decode(ids)
    assert text == respaced(text)
    groups = [i for i in range(len(ids)) if i == 0 or tokens.parts(ids[i - 1], ids[i])]
    words = [tokens.decode(ids[a:b]) for a, b in zip(groups, [*groups[1:], None], strict=True)]
    assert respaced(" ".join(words)) == text
    assert [word for word in words if word] == mixed_tokens(text)


@given(Mixed, Kinds)
def test_a_character_of_a_script_without_spaces_is_one_token(texts: list[str], kind: Kind) -> None:
    symbols = TokenSet.from_texts(texts, kind).symbols
    alone = {unit for text in texts for unit in mixed_tokens(text) if stands_alone(unit)}
    assert {symbol for symbol in symbols if any(map(stands_alone, symbol))} == alone


@given(
    st.sets(st.text("▁abc", min_size=1, max_size=4), min_size=1),
    st.text("abc", min_size=1, max_size=7),
)
def test_words_are_cut_into_the_fewest_symbols(symbols: set[str], word: str) -> None:
    tokens, marked = TokenSet(tuple(sorted(symbols))), WORD_START + word
    cuts = [
        [marked[a:b] for a, b in zip((0, *inner), (*inner, len(marked)), strict=True)]
        for count in range(len(marked))
        for inner in combinations(range(1, len(marked)), count)
    ]
    possible = [cut for cut in cuts if symbols.issuperset(cut)]
    if possible:
        best = min(possible, key=lambda cut: (len(cut), [-len(piece) for piece in cut]))
        assert [tokens.symbols[i] for i in tokens.encode(word)] == best
    else:
        with pytest.raises(DataError, match="not in the token set"):
            tokens.encode(word)


@given(Texts)
def test_file_and_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "tokens.txt"
    for kind in KINDS:
        tokens = TokenSet.from_texts(texts, kind)
        tokens.save(path)
        assert TokenSet.load(path) == tokens


@given(st.text())
def test_normalised_text_never_holds_the_mark(text: str) -> None:
    assert WORD_START not in normalise(text + WORD_START, "en")


@given(Texts, Kinds)
def test_the_order_of_texts_does_not_matter(texts: list[str], kind: Kind) -> None:
    assert TokenSet.from_texts(texts, kind) == TokenSet.from_texts(texts[::-1], kind)


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


def test_mixed_text_by_hand() -> None:
    text = "我想 go to北京 by 高铁"
    tokens = TokenSet.from_texts([text])
    assert tokens.symbols == ("o", "y", "▁b", "▁g", "▁t", *sorted("我想北京高铁"))
    assert tokens.decode(tokens.encode(text)) == "我想 go to 北京 by 高铁"


def test_few_frequent_words_beside_many_characters() -> None:
    tokens = TokenSet.from_texts(["打开 wifi", "关闭wifi"] * MIN_WORD_COUNT + ["温度"])
    assert tokens.symbols == ("▁wifi", *sorted("打开关闭温度"))


def test_a_set_that_marks_chinese_words_still_spells() -> None:
    tokens = TokenSet(("▁你", "▁打开", "好"))
    assert tokens.encode("你好 打开") == [0, 2, 1]
    assert tokens.decode([0, 2, 1]) == "你好打开"


def test_subwords_of_real_text() -> None:
    sources = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    lines = [line for path in sources for line in path.read_text("utf-8").splitlines()]
    texts = [text for text in (normalise(line, "en") for line in lines) if text]
    assert len(texts) > 300
    counts = []
    for size in (100, 200, 300):
        tokens = TokenSet.from_texts(texts, "bpe", size)
        assert len(tokens.symbols) - sum(map(stands_alone, tokens.symbols)) == size
        encoded = [tokens.encode(text) for text in texts]
        assert [tokens.decode(ids) for ids in encoded] == [respaced(text) for text in texts]
        counts.append(sum(map(len, encoded)))
    spelled = TokenSet.from_texts(texts, "characters")
    letters = sum(len(spelled.encode(text)) for text in texts)
    assert letters > 1.3 * counts[0] > 1.3 * 1.1 * counts[1] > 1.3 * 1.2 * counts[2]
    assert len(TokenSet.from_texts(texts, "bpe").symbols) <= SUBWORDS


def test_the_mark_in_text_that_was_not_normalised() -> None:
    with pytest.raises(DataError, match=f"holds '{WORD_START}'"):
        TokenSet(("▁a",)).encode("a▁")


def test_a_size_of_subwords_leaves_characters_alone() -> None:
    texts = ["你好 ab"] * MIN_WORD_COUNT
    assert TokenSet.from_texts(texts, "bpe", 4).symbols == ("a", "ab", "b", "▁", "你", "好")
    assert TokenSet.from_texts(["你好"], "bpe", 4).symbols == ("你", "好")


def test_known_letters_may_begin_any_word() -> None:
    tokens = TokenSet.from_texts(["ab"] * MIN_WORD_COUNT, "bpe")
    assert tokens.decode(tokens.encode("ba ab")) == "ba ab"


@pytest.mark.parametrize(
    ("kind", "size", "found"),
    [
        ("syllables", None, "no tokens of the kind 'syllables'"),
        ("auto", 50, "50 tokens of the kind 'auto'"),
        ("words", 1, "1 tokens of the kind 'words'"),
        ("bpe", 0, "0 tokens of the kind 'bpe'"),
        ("bpe", 20_001, "20001 tokens of the kind 'bpe'"),
        ("bpe", 3, "3 different characters, and 3 subwords are wanted. Expected at least 4"),
    ],
)
def test_choices_that_cannot_be_kept(kind: Kind, size: int | None, found: str) -> None:
    with pytest.raises(ScenarioError, match=found) as caught:
        TokenSet.from_texts(["yes"], kind, size)
    assert (caught.value.param, bool(caught.value.fix)) == ("tokens", True)


def test_more_tokens_than_a_model_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "MAX_TOKENS", 3)
    assert len(TokenSet.from_texts(["a b 你"], "words").symbols) == 3
    with pytest.raises(DataError, match=r"has 4 different tokens.*at most 3.*Choose tokens 'bpe'"):
        TokenSet.from_texts(["a b 你 好"], "words")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", [[], [""], [" ", "\n"]])
def test_no_words(texts: list[str], kind: Kind) -> None:
    with pytest.raises(DataError, match=r"no words.*at least one word.*Fill the text column"):
        TokenSet.from_texts(texts, kind)


@pytest.mark.parametrize(("text", "piece"), [("nose", "s"), ("on", "o"), ("no étude", "é")])
def test_text_that_the_set_does_not_hold(text: str, piece: str) -> None:
    tokens = TokenSet(("▁n", "o", "e"))
    assert tokens.encode("noe no") == [0, 1, 2, 0, 1]
    with pytest.raises(DataError, match="'你好' holds '你'"):
        tokens.encode("no 你好")
    with pytest.raises(DataError, match="'你好' holds '好'"):
        TokenSet(("你",)).encode("你好")
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


def test_a_file_too_large(tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_bytes(b"a" * (MAX_TABLE_BYTES + 1))
    with pytest.raises(BundleError, match=f"more than {MAX_TABLE_BYTES} bytes"):
        TokenSet.load(tmp_path / "tokens.txt")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        TokenSet.load(tmp_path / "tokens.txt")
