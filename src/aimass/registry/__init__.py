"""Models at rest: bundles, the registry of versions, and pretrained models."""
