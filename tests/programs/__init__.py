"""What real programs lose or repeat when their logs are rotated: ``python -m tests.programs``."""
