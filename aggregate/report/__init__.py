"""The page of a study: summary, coverage, tables, figures, and the runs behind every cell."""
