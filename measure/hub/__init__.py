"""Brings a checkpoint: hub, package index, GGUF, cache, hashes; what is known of its files."""
