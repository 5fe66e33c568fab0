"""What scores prove: statistics, tests, choices, claims."""
