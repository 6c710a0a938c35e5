"""The baselines plugin."""
