"""Files, places, progress, signals, exit statuses: what any wing may use, and that knows nothing of models."""
