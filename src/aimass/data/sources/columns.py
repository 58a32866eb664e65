"""Which column of a table holds what, by the names that people give to columns."""

from collections.abc import Mapping, Sequence

from aimass.base.errors import DataError

SYNONYMS: dict[str, tuple[str, ...]] = {
    "file": (
        "path", "filename", "file_name", "filepath", "file_path", "audio", "audio_path",
        "audio_file", "audiofile", "audio_filename", "audio_filepath", "wav", "wav_path",
        "wav_file", "wav_filename", "clip", "recording",
    ),
    "text": (
        "sentence", "transcript", "transcription", "label", "utterance", "words", "word",
        "command", "keyword", "phrase", "class", "category", "normalized_text",
    ),
    "speaker": ("speaker_id", "speakerid", "speaker_name", "client_id", "spk", "spk_id", "talker",
                "user", "user_id"),
    "split": ("subset", "set", "partition"),
    "lang": ("language", "locale", "language_code", "lang_id"),
    "start": ("start_time", "begin", "offset", "start_s", "start_seconds"),
    "end": ("end_time", "stop", "end_s", "end_seconds"),
    "duration": ("dur", "length", "duration_s", "duration_seconds"),
    "synthetic": ("is_synthetic",),
}  # fmt: skip
"""Our name of each column, and what else it is called; our own name wins over all others."""

NEEDED = ("file", "text")


def guess(found: Sequence[str], given: Mapping[str, str], where: str) -> dict[str, int]:
    """The index of each column that is known, under our name for it.

    Args:
        found: the names in the header.
        given: our name to a name in the header, for what cannot be guessed.

    Raises:
        DataError: two columns that may be meant, or a given column that is not there.
    """
    _check(found, given, where)
    folded = [fold(name) for name in found]
    taken = {fold(name) for name in given.values()}
    columns = {}
    for ours, others in SYNONYMS.items():
        if ours in given:
            candidates = [i for i, name in enumerate(folded) if name == fold(given[ours])]
        else:
            candidates = [i for i, name in enumerate(folded) if name == ours and name not in taken]
            candidates = candidates or [
                i for i, name in enumerate(folded) if name in others and name not in taken
            ]
        if len(candidates) > 1:
            names = " and ".join(found[i] for i in candidates)
            raise DataError(
                f"{where} has the columns {names}, and each may be the {ours}",
                expected=f"one column called {ours}, or one of its other names",
                fix=f"Rename the right one to {ours}, or type: --column "
                f"{ours}={found[candidates[0]]}",
            )
        if candidates:
            columns[ours] = candidates[0]
    return columns


def fits(found: Sequence[str], given: Mapping[str, str]) -> bool:
    """Whether a header has something for a recording and for a text, be it ambiguous."""
    folded = {fold(name) for name in found}
    return all(
        fold(given[ours]) in folded if ours in given else folded & {ours, *SYNONYMS[ours]}
        for ours in NEEDED
    )


def refuse_missing(found: Sequence[str], columns: Mapping[str, int], where: str) -> None:
    """Refuse a table that has nothing for the recording or for the text."""
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise DataError(
            f"{where} has the columns {', '.join(found)[:500] or 'of an empty table'}",
            expected=f"at least file and text ({', '.join(missing)} missing)",
            fix="Add the column, or rename the one that holds it, or name it: --column "
            f"{missing[0]}=NAME",
        )


def fold(name: str) -> str:
    """A column's name without its case, and with one sign between words."""
    return "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())


def _check(found: Sequence[str], given: Mapping[str, str], where: str) -> None:
    folded = {fold(name) for name in found}
    for ours, theirs in given.items():
        if ours not in SYNONYMS:
            raise DataError(
                f"there is no column '{ours}' to name",
                expected=f"one of {', '.join(SYNONYMS)}",
                fix="Write it as in: --column text=sentence",
            )
        if fold(theirs) not in folded:
            raise DataError(
                f"{where} has no column '{theirs}'; it has {', '.join(found)[:500]}",
                expected=f"a column that holds the {ours}",
                fix="Name one of the columns",
            )
