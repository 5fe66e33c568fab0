"""What people see of a campaign: `overview` computes it, `tables`, `watch` and `page` show it."""
