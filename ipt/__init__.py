"""Research toolkit for the intrinsic subspace of soft prompts (Qin et al., arXiv 2110.07867)."""
