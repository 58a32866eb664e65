"""The ground: errors, settings, digests, progress and the task contract."""
