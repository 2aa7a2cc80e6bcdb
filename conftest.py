"""Loads the measuring plugin, nothing else."""

pytest_plugins = ["measure.plugin"]
