"""Tuning, subspace finding, intrinsic subspace tuning: tensors and encoded tasks in, deltas out."""
