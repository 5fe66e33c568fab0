"""From metric files to scores by row, target, language and seed, and to the main table."""
