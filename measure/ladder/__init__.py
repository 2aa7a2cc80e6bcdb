"""The ladder: small models, really trained, on which every claim runs without a hub.

`recipe` says what each rung is, `train` makes it, `card` tells what was made.
Loading a rung is not done here: `measure.models.loading` loads it like any other Hugging Face folder.
"""
