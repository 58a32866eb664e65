"""Running models: engines, streams and the adapters of pretrained recognisers."""
