"""1 Prepare: folders of recordings to manifests."""
