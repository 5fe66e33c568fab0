"""What is: from run folders first, then one squeue, then at most one sacct."""
