"""The commands of `measure`, a module each: `add` says what it takes, `run` does it. Imports no torch by itself."""
