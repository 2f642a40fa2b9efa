"""Networks and parts exactly as a paper or another project published them, so that their weights can be loaded."""
