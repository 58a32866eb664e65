"""4 Train: batches, the loop, checkpoints."""
