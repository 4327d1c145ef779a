"""`imagegate audit`: reading the trail."""
