"""Where workers run besides this machine: SLURM arrays, Dask."""
