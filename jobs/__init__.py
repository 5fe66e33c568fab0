"""What runs inside one job: verify the parents, set up the ranks, run the stage, write DONE last."""
