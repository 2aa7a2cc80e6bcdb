"""Which inputs: corpora, drawn pairs and triples, written pairs, token files, tables of pairs."""
