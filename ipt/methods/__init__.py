"""Tuning, multi-task subspace finding, intrinsic subspace tuning: tensors and encoded tasks in, deltas out."""
