"""One table each, ready for markup."""
