"""What runs assignments: executor processes, or this very process."""
