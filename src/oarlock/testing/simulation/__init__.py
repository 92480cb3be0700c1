"""A deterministic world for whole replicas; see docs/testing.md."""
