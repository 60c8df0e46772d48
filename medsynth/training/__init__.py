"""What any training needs: saved state, precision."""
