"""The same queue over executors that exist: threads, loky, Dask and others."""
