"""Measure stable regions in the residual stream of language models.

Importing this package does nothing and takes no torch: the public names are fetched when first used.
"""
