"""What runs on the login node: a grid file becomes Slurm jobs (or local workers), and back a status. No torch."""
