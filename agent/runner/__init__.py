"""Local runner: applies the lifecycle rules in this process and stores each state."""
