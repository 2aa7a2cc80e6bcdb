"""Loads one model: weights, tokenizer, blocks, device, counterfeits."""
