"""What strategies are built from: learners, networks, and the training loop."""
