"""The finetuning plugin."""
