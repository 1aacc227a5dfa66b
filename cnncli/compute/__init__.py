"""Makes compiled code of kernels, keeps it on disk and runs it on all threads."""
