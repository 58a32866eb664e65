"""How texts are cut into subwords: by the fewest symbols, and by replaying the learned merges.

::

    python benchmarks/bench_subwords.py TEXT.gz

TEXT.gz has one English sentence a line. Times are of the processor. "rare" counts symbols that
stand less than ten times in all the text, which is too little to learn them from sound.
"""

import argparse
import gzip
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from aimass.text.bpe import joined, merges
from aimass.text.normalise import normalise
from aimass.text.tokens import WORD_START, TokenSet

SIZES = (100, 300, 500, 1000, 2000, 5000)
RARE = 10


def replayed(word: str, ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """The cut of Sennrich et al.: of the pairs in a word, the one learned first is joined."""
    symbols = [WORD_START, *word]
    while True:
        known = [pair for pair in pairwise(symbols) if pair in ranks]
        if not known:
            return symbols
        symbols = list(joined(symbols, min(known, key=ranks.__getitem__)))


def used(words: Mapping[str, int], cuts: Mapping[str, Sequence[str]]) -> Counter[str]:
    uses: Counter[str] = Counter()
    for word, count in words.items():
        uses.update(dict.fromkeys(cuts[word], 0))
        for symbol in cuts[word]:
            uses[symbol] += count
    return uses


def measure(texts: Sequence[str], words: Mapping[str, int], size: int) -> None:
    begun = time.process_time()
    tokens = TokenSet.from_texts(texts, "bpe", size)
    learned = time.process_time()
    for text in texts:
        tokens.encode(text)
    print(
        f"{size:5} symbols: learned in {learned - begun:.1f} s, "
        f"{len(texts)} texts cut in {time.process_time() - learned:.1f} s"
    )
    ranks: dict[tuple[str, str], int] = {}
    for pair in merges(words, size, WORD_START):
        ranks.setdefault(pair, len(ranks))
    fewest = {word: [tokens.symbols[i] for i in tokens.encode(word)] for word in words}
    merged = {word: replayed(word, ranks) for word in words}
    for name, cuts in (("fewest", fewest), ("merges", merged)):
        uses = used(words, cuts)
        rare = sum(uses[symbol] < RARE for symbol in tokens.symbols)
        print(f"      {name}: {uses.total() / sum(words.values()):.4f} a word, {rare} rare")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("text", type=Path)
    with gzip.open(parser.parse_args().text, "rt", encoding="utf-8") as lines:
        texts = [normalise(line, "en") for line in lines]
    words = Counter(word for text in texts for word in text.split())
    for size in SIZES:
        measure(texts, words, size)


if __name__ == "__main__":
    main()
