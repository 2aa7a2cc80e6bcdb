"""What users call from Python: curves, slices, sweeps, comparisons; checks what is handed in."""
