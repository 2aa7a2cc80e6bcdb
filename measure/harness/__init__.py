"""The pytest side: hooks, session, selection, baselines and what drifted, refresh, review, plan."""
