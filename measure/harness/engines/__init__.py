"""Where loads are measured: in this process, in shards, in processes, by Ray, by Slurm; the store they share."""
