"""Analysis of run folders: tables, figures and notebooks. Reads runs, never trains."""
