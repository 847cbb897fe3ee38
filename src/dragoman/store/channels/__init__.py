"""Channel accounts and what the channel says of them."""
