"""The audit in the admin: its list and its filters, who had an address, and its export."""
