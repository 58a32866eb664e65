"""Every stage on one page: `aimass build scenario.yaml`."""
