"""Runs points in their contexts: the fast path, the reference path that checks it, one measuring function a kind."""
