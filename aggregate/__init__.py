"""From any tree of metric files to the tables of the study. Never imports torch."""
