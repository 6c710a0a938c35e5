"""Entry point of the baselines plugin."""
