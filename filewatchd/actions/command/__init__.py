"""What actions that run commands have in common: words and placeholders, environment, input, checks, outcomes."""
