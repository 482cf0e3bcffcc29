"""Quality control of stores: finds bad fields by fixed rules, and edge effects of plates."""
