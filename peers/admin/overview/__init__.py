"""What stands above the list of models at /admin/."""
