"""Many members grown, combined, weighed and pruned: the massive model."""
