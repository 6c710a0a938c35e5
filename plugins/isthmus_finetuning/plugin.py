"""Entry point of the finetuning plugin."""
