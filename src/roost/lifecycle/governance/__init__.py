"""Who may do what, who approved it, where an answer comes from, and which models have aged."""
