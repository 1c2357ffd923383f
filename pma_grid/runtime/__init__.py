"""What every room stands on: arrays, errors, checks of arguments, threads, progress, files."""
