"""What sound is: decode any container, resample, find speech, cut at pauses."""
