"""The two protocols, single and interactive, and the report that both write."""
