"""Words: normalisation for scoring, and the formats in which transcripts are handed out."""
