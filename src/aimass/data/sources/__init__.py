"""One reader for each layout of recordings: each recognises its own, and gives a `Corpus`."""
